/* Terms of Pearson's chi-squared test on genotype counts (Lauter et al. 2014). */
#include <stdint.h>

typedef struct {
  uint32_t alpha, beta1, beta2, beta3;
} Terms;

Terms chi_squared(uint8_t n0, uint8_t n1, uint8_t n2) {
  Terms t;
  int32_t difference = 4 * n0 * n2 - n1 * n1;
  uint32_t left = 2 * n0 + n1, right = 2 * n2 + n1;
  t.alpha = difference * difference;
  t.beta1 = 2 * left * left;
  t.beta2 = left * right;
  t.beta3 = 2 * right * right;
  return t;
}
