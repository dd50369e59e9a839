/* Risk score of a secret patient by a model that the server knows: the weights are
 * public to the compiler, so that products by them are shifts and adds. */
#include <stdint.h>

#define FEATURES 8

static int16_t sigmoid(int32_t x) {
  int32_t size = x < 0 ? -x : x;
  int32_t y = size >= 1280 ? 256
              : size >= 608 ? (size >> 5) + 216
              : size >= 256 ? (size >> 3) + 160
                            : (size >> 2) + 128;
  return x < 0 ? 256 - y : y;
}

#pragma fhe public(weights, bias)
int16_t predict(const int8_t features[FEATURES], const int8_t weights[FEATURES],
                int16_t bias) {
  int32_t sum = bias;
  for (int i = 0; i < FEATURES; i++) sum += features[i] * weights[i];
  return sigmoid(sum >> 2);
}
