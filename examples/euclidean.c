/* Euclidean distance of two points, rounded down: a digit-by-digit square root. */
#include <stdint.h>

#define SIZE 8

uint16_t euclidean(const int8_t a[SIZE], const int8_t b[SIZE]) {
  uint32_t rest = 0;
  for (int i = 0; i < SIZE; i++) {
    int difference = a[i] - b[i];
    rest += difference * difference;
  }
  uint32_t root = 0;
  for (uint32_t bit = 1u << 18; bit; bit >>= 2) {
    if (rest >= root + bit) {
      rest -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return root;
}
