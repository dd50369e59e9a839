/* Number of ones in a 64-bit word. */
#include <stdint.h>

uint8_t popcount(uint64_t x) {
  uint8_t count = 0;
  for (int i = 0; i < 64; i++) count += x >> i & 1;
  return count;
}
