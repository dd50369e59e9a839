/* Logistic function in fixed point: 8 fraction bits in, 8 fraction bits out.
 * Four line segments on |x| (Amin, Curtis and Hayes-Gill 1997), mirrored below 0. */
#include <stdint.h>

int16_t sigmoid(int16_t x) {
  int32_t size = x < 0 ? -(int32_t)x : x;
  int32_t y;
  if (size >= 5 * 256) {
    y = 256;
  } else if (size >= 608) {
    y = (size >> 5) + 216;
  } else if (size >= 256) {
    y = (size >> 3) + 160;
  } else {
    y = (size >> 2) + 128;
  }
  return x < 0 ? 256 - y : y;
}
