/* Sobel edges of an 8x8 tile, small enough for a laptop. */
#define SIZE 8
#include "sobel.c"
