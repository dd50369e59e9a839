/* Binary search in a sorted secret list: secret indices, a loop with a bound. */
#include <stdint.h>

#define SIZE 16

int8_t binary_search(const uint16_t sorted[SIZE], uint16_t key) {
  int8_t low = 0, high = SIZE - 1;
#pragma fhe bound(5)
  while (low <= high) {
    int8_t middle = (low + high) / 2;
    if (sorted[middle] == key) return middle;
    if (sorted[middle] < key)
      low = middle + 1;
    else
      high = middle - 1;
  }
  return -1;
}
