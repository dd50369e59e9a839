/* A two-layer network on a secret 8x8 image of bits: ReLU, then the best class.
 * Its integer weights are public to the compiler. */
#include <stdint.h>

#define PIXELS 64
#ifndef HIDDEN
#define HIDDEN 8
#define CLASSES 4
#endif

#pragma fhe public(first, second)
uint8_t classify(const uint8_t image[PIXELS], const int8_t first[HIDDEN][PIXELS],
                 const int8_t second[CLASSES][HIDDEN]) {
  int16_t hidden[HIDDEN];
  for (int i = 0; i < HIDDEN; i++) {
    int16_t sum = 0;
    for (int j = 0; j < PIXELS; j++)
      if (image[j] & 1) sum += first[i][j];
    hidden[i] = sum > 0 ? sum : 0;
  }
  int32_t best = INT32_MIN;
  uint8_t label = 0;
  for (int i = 0; i < CLASSES; i++) {
    int32_t score = 0;
    for (int j = 0; j < HIDDEN; j++) score += second[i][j] * hidden[j];
    if (score > best) {
      best = score;
      label = i;
    }
  }
  return label;
}
