"""Flax networks for CIFAR-scale and ImageNet-scale images."""
