/* Product of two 8x8 matrices of 16-bit integers, modulo 2^16. */
#include <stdint.h>

#define SIZE 8

void matmul(const int16_t a[SIZE][SIZE], const int16_t b[SIZE][SIZE],
            int16_t c[SIZE][SIZE]) {
  for (int i = 0; i < SIZE; i++) {
    for (int j = 0; j < SIZE; j++) {
      uint16_t sum = 0;
      for (int k = 0; k < SIZE; k++) sum += (uint16_t)a[i][k] * (uint32_t)b[k][j];
      c[i][j] = sum;
    }
  }
}
