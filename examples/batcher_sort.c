/* Batcher's odd-even merge sort: a sorting network of few levels. */
#include <stdint.h>

#define SIZE 16

static void order(uint8_t *a, uint8_t *b) {
  uint8_t low = *a < *b ? *a : *b, high = *a < *b ? *b : *a;
  *a = low;
  *b = high;
}

void batcher_sort(uint8_t a[SIZE]) {
  for (int p = 1; p < SIZE; p *= 2)
    for (int k = p; k >= 1; k /= 2)
      for (int j = k % p; j + k < SIZE; j += 2 * k)
        for (int i = 0; i < k && i + j + k < SIZE; i++)
          if ((i + j) / (2 * p) == (i + j + k) / (2 * p))
            order(&a[i + j], &a[i + j + k]);
}
