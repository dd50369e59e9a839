/* Gaussian blur of a grey image with the 3x3 kernel 1-2-1; the border is copied. */
#include <stdint.h>

#define SIZE 16

static const int kernel[3] = {1, 2, 1};

void gaussian(const uint8_t image[SIZE][SIZE], uint8_t blurred[SIZE][SIZE]) {
  for (int y = 0; y < SIZE; y++) {
    for (int x = 0; x < SIZE; x++) {
      if (y == 0 || x == 0 || y == SIZE - 1 || x == SIZE - 1) {
        blurred[y][x] = image[y][x];
        continue;
      }
      int sum = 0;
      for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
          sum += kernel[i] * kernel[j] * image[y + i - 1][x + j - 1];
      blurred[y][x] = (sum + 8) >> 4;
    }
  }
}
