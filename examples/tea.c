/* TEA, the Tiny Encryption Algorithm (Wheeler and Needham 1994). */
#include <stdint.h>

void tea(uint32_t block[2], const uint32_t key[4]) {
  uint32_t y = block[0], z = block[1], sum = 0;
  for (int round = 0; round < 32; round++) {
    sum += 0x9e3779b9;
    y += ((z << 4) + key[0]) ^ (z + sum) ^ ((z >> 5) + key[1]);
    z += ((y << 4) + key[2]) ^ (y + sum) ^ ((y >> 5) + key[3]);
  }
  block[0] = y;
  block[1] = z;
}
