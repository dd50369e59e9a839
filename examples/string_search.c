/* First place of a secret pattern in a secret text, -1 if it is not there. */
#include <stdbool.h>
#include <stdint.h>

#define TEXT 32
#define PATTERN 4

int8_t search(const char text[TEXT], const char pattern[PATTERN]) {
  for (int i = 0; i + PATTERN <= TEXT; i++) {
    bool found = true;
    for (int k = 0; k < PATTERN; k++) found = found && text[i + k] == pattern[k];
    if (found) return i;
  }
  return -1;
}
