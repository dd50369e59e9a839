/* Largest value of a list and where it first stands: a structure as the result. */
#include <stdint.h>

#define SIZE 16

typedef struct {
  int16_t value;
  uint8_t index;
} Maximum;

Maximum argmax(const int16_t a[SIZE]) {
  Maximum best = {a[0], 0};
  for (uint8_t i = 1; i < SIZE; i++) {
    if (a[i] > best.value) {
      best.value = a[i];
      best.index = i;
    }
  }
  return best;
}
