/* Hamming distance of two 256-bit fingerprints. */
#include <stdint.h>

#define BYTES 32

uint16_t hamming(const uint8_t a[BYTES], const uint8_t b[BYTES]) {
  uint16_t count = 0;
  for (int i = 0; i < BYTES; i++) {
    uint8_t different = a[i] ^ b[i];
    for (int k = 0; k < 8; k++) count += different >> k & 1;
  }
  return count;
}
