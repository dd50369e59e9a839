/* AES-128 (FIPS 197) of one block. The S-box is computed, not looked up: inversion in
 * GF(2^8) as pairs over GF(2^4) with Y^2 = Y + 8 and x^4 = x + 1, between two
 * changes of basis, the second of which includes the affine map. */
#include <stdint.h>

static const uint8_t to_pairs[8] = {0x01, 0x20, 0x46, 0x4c, 0x3c, 0xd5, 0x34, 0xe5};
static const uint8_t from_pairs[8] = {0x1f, 0xb2, 0xab, 0x36, 0x52, 0x3e, 0x65, 0x60};
static const uint8_t inverse4[16] = {0, 1, 9, 14, 13, 11, 7, 6,
                                     15, 2, 12, 5, 10, 4, 3, 8};

static uint8_t linear(const uint8_t columns[8], uint8_t x) {
  uint8_t y = 0;
  for (int i = 0; i < 8; i++)
    if (x >> i & 1) y ^= columns[i];
  return y;
}

static uint8_t multiply4(uint8_t a, uint8_t b) {
  uint8_t product = 0;
  for (int i = 0; i < 4; i++) {
    if (b >> i & 1) product ^= a;
    a = (a << 1 & 15) ^ (a >> 3 ? 3 : 0);
  }
  return product;
}

static uint8_t substitute(uint8_t x) {
  uint8_t pair = linear(to_pairs, x);
  uint8_t high = pair >> 4, low = pair & 15;
  uint8_t norm = multiply4(multiply4(high, high), 8) ^ multiply4(high ^ low, low);
  uint8_t inverse = inverse4[norm];
  high = multiply4(high, inverse);
  low = high ^ multiply4(low, inverse);
  return linear(from_pairs, high << 4 | low) ^ 0x63;
}

static uint8_t twice(uint8_t x) { return x << 1 ^ (x >> 7 ? 0x1b : 0); }

void aes128(const uint8_t key[16], const uint8_t plain[16], uint8_t cipher[16]) {
  uint8_t round_key[16], state[16], constant = 1;
  for (int i = 0; i < 16; i++) {
    round_key[i] = key[i];
    state[i] = plain[i] ^ key[i];
  }
  for (int round = 1; round <= 10; round++) {
    for (int i = 0; i < 4; i++)
      round_key[i] ^= substitute(round_key[12 + (i + 1) % 4]) ^ (i ? 0 : constant);
    for (int i = 4; i < 16; i++) round_key[i] ^= round_key[i - 4];
    constant = twice(constant);
    uint8_t shifted[16];
    for (int i = 0; i < 16; i++) shifted[i] = substitute(state[(i + i % 4 * 4) % 16]);
    for (int i = 0; i < 16; i++) {
      uint8_t *column = &shifted[i / 4 * 4];
      uint8_t here = column[i % 4], next = column[(i + 1) % 4];
      uint8_t mixed = here;
      if (round < 10)
        mixed = twice(here ^ next) ^ next ^ column[(i + 2) % 4] ^ column[(i + 3) % 4];
      state[i] = mixed ^ round_key[i];
    }
  }
  for (int i = 0; i < 16; i++) cipher[i] = state[i];
}
