/* Largest sum of a contiguous part of a list (Kadane). */
#include <stdint.h>

#define SIZE 16

int16_t kadane(const int8_t a[SIZE]) {
  int16_t best = a[0], current = a[0];
  for (int i = 1; i < SIZE; i++) {
    current = current > 0 ? current + a[i] : a[i];
    if (current > best) best = current;
  }
  return best;
}
