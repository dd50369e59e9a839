"""Flax networks for CIFAR-scale and ImageNet-scale images, by name."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from fidelity.models.cnn import CNN
from fidelity.models.densenet import DenseNet
from fidelity.models.efficientnet import EfficientNetB0
from fidelity.models.googlenet import GoogLeNet
from fidelity.models.layers import Dtype, Output
from fidelity.models.mlp import MLP
from fidelity.models.mobilenet import MobileNetV2
from fidelity.models.resnet import ResNet
from fidelity.models.shufflenet import ShuffleNetV2
from fidelity.models.squeezenet import SqueezeNet
from fidelity.models.vgg import VGG

__all__ = ["Output", "create", "names"]

_STEMS = ("cifar", "imagenet")
_ZOO: dict[str, Callable[..., nn.Module]] = {
    "cnn": CNN,
    "densenet121": functools.partial(DenseNet, blocks=(6, 12, 24, 16), growth=32),
    "densenet_bc_100_12": functools.partial(DenseNet, blocks=(16, 16, 16), growth=12),
    "efficientnet_b0": EfficientNetB0,
    "googlenet": GoogLeNet,
    "mlp": MLP,
    "mobilenet_v2": MobileNetV2,
    "resnet18": functools.partial(ResNet, blocks=(2, 2, 2, 2)),
    "resnet20": functools.partial(ResNet, blocks=(3, 3, 3), width=16),
    "resnet32": functools.partial(ResNet, blocks=(5, 5, 5), width=16),
    "resnet34": functools.partial(ResNet, blocks=(3, 4, 6, 3)),
    "resnet50": functools.partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True),
    "resnet56": functools.partial(ResNet, blocks=(9, 9, 9), width=16),
    "shufflenet_v2_x0_5": functools.partial(ShuffleNetV2, widths=(48, 96, 192)),
    "shufflenet_v2_x1_0": functools.partial(ShuffleNetV2, widths=(116, 232, 464)),
    "squeezenet1_1": SqueezeNet,
    "vgg11_bn": functools.partial(VGG, blocks=(1, 1, 2, 2, 2)),
    "vgg16_bn": functools.partial(VGG, blocks=(2, 2, 3, 3, 3)),
}


def names() -> tuple[str, ...]:
    """The networks that `create` knows, in alphabetical order."""
    return tuple(sorted(_ZOO))


def create(
    name: str, num_classes: int, *, stem: str = "cifar", dtype: Dtype = jnp.float32
) -> nn.Module:
    """Builds a network of the zoo.

    Every network is called as `module.apply(variables, images, train=False)` with
    `images` `[B, H, W, K]` and returns an `Output`. Statistics of normalisation are in
    the collection `batch_stats`, which "mlp" and "squeezenet1_1" do not have. Dropout
    and stochastic depth are left out, so no network needs a key to be applied.

    Args:
        name: one of `names()`.
        num_classes: `C`, at least 1.
        stem: "cifar" keeps the resolution of small images at the entry; "imagenet" is
            the network as published for 224x224. "mlp" has no stem and ignores it.
        dtype: type of the computation; parameters and logits are float32.

    Raises:
        ValueError: an unknown name or stem, or no class.

    Example:
        >>> import jax
        >>> module = create("resnet20", 10)
        >>> images = jnp.zeros((1, 32, 32, 3))
        >>> variables = module.init(jax.random.key(0), images)
        >>> module.apply(variables, images).logits.shape
        (1, 10)
    """
    if name not in _ZOO:
        raise ValueError(f"unknown network {name!r}, use one of {', '.join(names())}")
    if stem not in _STEMS:
        raise ValueError(f"unknown stem {stem!r}, use one of {', '.join(_STEMS)}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    return _ZOO[name](num_classes=num_classes, stem=stem, dtype=dtype)
