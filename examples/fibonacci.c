/* Fibonacci number of a secret index: a loop that a secret ends. */
#include <stdint.h>

#define MOST 24

uint32_t fibonacci(uint8_t n) {
  uint32_t a = 0, b = 1;
  if (n > MOST) n = MOST;
#pragma fhe bound(MOST)
  for (uint8_t i = 0; i < n; i++) {
    uint32_t next = a + b;
    a = b;
    b = next;
  }
  return a;
}
