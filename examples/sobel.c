/* Sobel edges of a grey image: |gx| + |gy|, clamped; the border is black. */
#include <stdint.h>
#include <stdlib.h>

#ifndef SIZE
#define SIZE 32
#endif

void sobel(const uint8_t image[SIZE][SIZE], uint8_t edges[SIZE][SIZE]) {
  for (int y = 0; y < SIZE; y++) {
    for (int x = 0; x < SIZE; x++) {
      edges[y][x] = 0;
      if (y == 0 || x == 0 || y == SIZE - 1 || x == SIZE - 1) continue;
      int gx = 0, gy = 0;
      for (int d = -1; d <= 1; d++) {
        int weight = 2 - abs(d);
        gx += weight * (image[y + d][x + 1] - image[y + d][x - 1]);
        gy += weight * (image[y + 1][x + d] - image[y - 1][x + d]);
      }
      int magnitude = abs(gx) + abs(gy);
      edges[y][x] = magnitude > 255 ? 255 : magnitude;
    }
  }
}
