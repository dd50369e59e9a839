/* Product of two 4x4 matrices of 32-bit integers. */
#include <stdint.h>

#define SIZE 4

void matmul(const int32_t a[SIZE][SIZE], const int32_t b[SIZE][SIZE],
            int32_t c[SIZE][SIZE]) {
  for (int i = 0; i < SIZE; i++) {
    for (int j = 0; j < SIZE; j++) {
      c[i][j] = 0;
      for (int k = 0; k < SIZE; k++) c[i][j] += a[i][k] * b[k][j];
    }
  }
}
