/* Edit distance of two words (Wagner and Fischer), one row at a time. */
#include <stdint.h>

#define SIZE 8

static uint8_t least(uint8_t a, uint8_t b) { return a < b ? a : b; }

uint8_t edit_distance(const char a[SIZE], const char b[SIZE]) {
  uint8_t row[SIZE + 1];
  for (int j = 0; j <= SIZE; j++) row[j] = j;
  for (int i = 0; i < SIZE; i++) {
    uint8_t diagonal = row[0];
    row[0] = i + 1;
    for (int j = 0; j < SIZE; j++) {
      uint8_t changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = least(changed, least(row[j], row[j + 1]) + 1);
    }
  }
  return row[SIZE];
}
