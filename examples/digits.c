/* The two-layer network for ten digits; `python -m launch.encrypt_digits` trains its
 * weights. */
#define HIDDEN 16
#define CLASSES 10
#include "network.c"
