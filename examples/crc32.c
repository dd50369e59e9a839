/* CRC-32 (ISO-HDLC, as in zip and Ethernet) of a secret message. */
#include <stdint.h>

#define BYTES 8

uint32_t crc32(const uint8_t message[BYTES]) {
  uint32_t crc = 0xffffffff;
  for (int i = 0; i < BYTES; i++) {
    crc ^= message[i];
    for (int k = 0; k < 8; k++) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}
