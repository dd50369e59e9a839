/* Greatest common divisor by Euclid's algorithm; 12 rounds do for bytes. */
#include <stdint.h>

uint8_t gcd(uint8_t a, uint8_t b) {
#pragma fhe bound(12)
  while (b) {
    uint8_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}
