/* Histogram of secret values: writing at secret indices. */
#include <stdint.h>

#define SIZE 32
#define BINS 8

void histogram(const uint8_t values[SIZE], uint8_t bins[BINS]) {
  for (int i = 0; i < BINS; i++) bins[i] = 0;
  for (int i = 0; i < SIZE; i++) bins[values[i] / (256 / BINS)]++;
}
