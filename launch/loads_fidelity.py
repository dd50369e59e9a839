"""What is measured of `fidelity` over several devices: re-training, and an ensemble."""

import jax
import jax.numpy as jnp
import numpy as np

from fidelity import ensemble, models, parallel, prune, quantize
from fidelity.data import make_dataset
from fidelity.scheme import chain
from fidelity.train import Config, make_trainer
from fidelity.weighting import fixed
from launch.scaling import Devices, Load, Work, reduction, share


def retraining(
    network: str,
    batch_size: int,
    steps: int,
    *,
    image_size: int = 32,
    bfloat16: bool = True,
) -> Load:
    """Examples a second of re-training under masks, int8 weights and distillation.

    Args:
        network: one of `models.names()`.
        batch_size: examples a step of the fewest devices, on random images.
        steps: of a call.
        image_size: pixels a side.
        bfloat16: compute in it.
    """
    shape = (image_size, image_size, 3)
    dtype = jnp.bfloat16 if bfloat16 else jnp.float32
    module = models.create(network, 10, dtype=dtype)
    reference = jax.jit(module.init)(jax.random.key(1), jnp.zeros((1, *shape)))
    scheme = chain(prune.prune(0.8), quantize.weights(quantize.Grid(8)))

    def make(devices: Devices, size: int) -> Work:
        share(size, devices, "examples of a batch")
        rng = np.random.default_rng(0)
        count = size * steps
        images = rng.integers(0, 256, (count, *shape), np.uint8)
        labels = rng.integers(0, 10, count, np.int32)
        trainer = make_trainer(
            module,
            Config(batch_size=size),
            num_examples=max(50_000, count),
            image_shape=shape,
            mean=np.full(3, 0.5),
            std=np.full(3, 0.25),
            terms=("ce", "kd"),
            weighting=fixed((1.0, 1.0)),
            scheme=scheme,
            axis_name=parallel.AXIS,
        )
        shared = parallel.over(trainer, devices, size)
        data = parallel.place((images, labels), devices)
        teacher = parallel.place(reference, devices)
        state = shared.init(jax.random.key(0), reference)
        state, order = shared.shuffle(state, count)

        def call() -> None:
            nonlocal state
            state, metrics = shared.steps(state, *data, order, teacher)
            jax.block_until_ready((state, metrics))

        exchange = reduction(reference, devices, steps) if len(devices) > 1 else None
        return Work(call, count, exchange)

    return Load(f"{network}: re-training", "examples", batch_size, make)


def memorization(
    network: str,
    num_models: int,
    config: Config,
    *,
    examples: int = 60_000,
    tests: int = 10_000,
    image_size: int = 28,
    bfloat16: bool = True,
) -> Load:
    """Models a second of an ensemble on random subsets, models split over devices.

    Args:
        network: one of `models.names()`.
        num_models: trained at once by the fewest devices.
        config: of each model.
        examples: random training images; each model sees 70 % of them.
        tests: random test images.
        image_size: pixels a side.
        bfloat16: compute in it.
    """
    rng = np.random.default_rng(0)
    train, test = (
        make_dataset(
            rng.integers(0, 256, (count, image_size, image_size, 1), np.uint8),
            rng.integers(0, 10, count),
        )
        for count in (examples, tests)
    )
    dtype = jnp.bfloat16 if bfloat16 else jnp.float32
    module = models.create(network, 10, dtype=dtype)
    learner = ensemble.network_learner(module, config, train, test)

    def make(devices: Devices, size: int) -> Work:
        share(size, devices, "models")
        subset = ensemble.subset_size(examples, 0.7)
        run = ensemble.make_program(learner, examples, subset, devices)
        keys = jax.random.key_data(jax.random.split(jax.random.key(0), size))
        return Work(lambda: run(keys), size)

    return Load(f"{network}: ensemble", "models", num_models, make)
