/* Product of two 16-bit integers, all 32 bits of it. */
#include <stdint.h>

uint32_t multiply(uint16_t a, uint16_t b) { return (uint32_t)a * b; }
