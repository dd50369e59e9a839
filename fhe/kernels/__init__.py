"""Hand-fused GPU kernels, each with a plain form elsewhere as its test."""
