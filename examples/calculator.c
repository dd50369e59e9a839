/* A calculator whose operator is secret too. */
#include <stdint.h>

int16_t calculate(char operator, int16_t a, int16_t b) {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case 'x':
    case '*':
      return a * b;
    case '/':
      return b == 0 || (a == INT16_MIN && b == -1) ? 0 : a / b;
    default:
      return 0;
  }
}
