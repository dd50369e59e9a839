/* Dot product of two vectors: the heart of linear models. */
#include <stdint.h>

#define SIZE 16

int32_t dot(const int16_t a[SIZE], const int16_t b[SIZE]) {
  int32_t sum = 0;
  for (int i = 0; i < SIZE; i++) sum += a[i] * b[i];
  return sum;
}
