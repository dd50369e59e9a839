/* Bubble sort, in place. */
#include <stdint.h>

#define SIZE 8

void bubble_sort(int16_t a[SIZE]) {
  for (int end = SIZE - 1; end > 0; end--) {
    for (int i = 0; i < end; i++) {
      if (a[i] > a[i + 1]) {
        int16_t t = a[i];
        a[i] = a[i + 1];
        a[i + 1] = t;
      }
    }
  }
}
