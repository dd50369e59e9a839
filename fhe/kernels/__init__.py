"""Hand-fused GPU kernels, each with a plain form elsewhere that it is tested against."""
