"""The learning-compression algorithm: train towards the compressed set, not in it.

Solves `min_w L(w)` subject to `w = theta`, `theta` in the image of a compression scheme
`Pi`, by the augmented Lagrangian (Carreira-Perpinan & Idelbayev 2018, CVPR; the
accuracy-recovery algorithm of Condensa, Joseph et al. 2020, arXiv:1911.02497):

    L step   a few epochs of SGD on  L(w) + mu/2 |w - theta|^2 - lambda (w - theta)
    C step   theta  <- Pi(w - lambda / mu)
    then     lambda <- lambda - mu (w - theta),   mu <- mu_multiplier mu

Only kernels are pulled. The first C step compresses the reference directly.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fidelity import checkpoint
from fidelity.data import Dataset
from fidelity.fit import fit
from fidelity.scheme import Params, Scheme, flat, kernels, nested
from fidelity.train import Anchor, State, Trainer, Variables


@dataclasses.dataclass(frozen=True)
class LagrangianConfig:
    """Constants of the outer loop.

    Attributes:
        rounds: pairs of an L step and a C step.
        epochs_per_round: of an L step; the trainer's schedule spans all rounds.
        penalty: first `mu`.
        multiplier: growth of `mu` with each round.
        penalty_cap: `mu` stops there.
    """

    rounds: int = 10
    epochs_per_round: int = 1
    penalty: float = 1e-3
    multiplier: float = 1.5
    penalty_cap: float = 1e4

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.epochs_per_round < 1:
            raise ValueError(f"rounds and epochs_per_round must be >= 1, got {self}")
        if self.penalty <= 0 or self.multiplier < 1:
            raise ValueError(f"penalty must be > 0 and multiplier >= 1, got {self}")


class Run(NamedTuple):
    """State between two rounds."""

    state: State  # w, in state.params
    target: Params  # theta
    multiplier: Params  # lambda
    penalty: jax.Array  # [] mu


def project(
    scheme: Scheme, params: Params, multiplier: Params, penalty: jax.Array
) -> Params:
    """The C step: `Pi(w - lambda / mu)`; leaves that are not kernels stay `w`."""
    shift = flat(multiplier)
    pulled = flat(params)
    for path, w in kernels(params).items():
        pulled[path] = w - shift[path] / penalty
    pulled = nested(pulled)
    return scheme.apply(pulled, scheme.init(pulled, pulled))


def learning_compression(
    trainer: Trainer,
    scheme: Scheme,
    state: State,
    dataset: Dataset,
    config: LagrangianConfig,
    *,
    reference: Variables | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    directory: str | Path | None = None,
) -> tuple[Variables, list[dict[str, Any]]]:
    """Runs the alternation.

    Args:
        trainer: with the identity scheme; its configuration's epochs should be
            `rounds * epochs_per_round`.
        scheme: the compression `Pi`; magnitude criteria only, since there is no
            gradient at a C step.
        state: starts at the reference's parameters.
        dataset: training set.
        config: constants.
        reference: network to preserve, for preservation terms.
        on_epoch: called with each epoch's record.
        directory: for a checkpoint after each round; one that is there is taken up.

    Returns:
        The compressed variables and one record an epoch. Batch-norm statistics are
        those of `w`: pass the result through `recalibrate` before use.
    """
    c_step = jax.jit(lambda w, m, mu: project(scheme, w, m, mu))
    penalty = jnp.asarray(config.penalty, jnp.float32)
    multiplier = jax.tree.map(jnp.zeros_like, state.params)
    run = Run(state, c_step(state.params, multiplier, penalty), multiplier, penalty)
    done = 0
    history: list[dict[str, Any]] = []
    if directory is not None and checkpoint.latest(directory) is not None:
        done, run, saved = checkpoint.restore(directory, run)
        history = saved["history"]
        for record in history:
            if on_epoch:
                on_epoch(record)
    for round_ in range(done, config.rounds):
        state, records = fit(
            trainer,
            run.state,
            dataset,
            config.epochs_per_round,
            reference=reference,
            anchor=kernel_anchor(run),
            on_epoch=on_epoch,
        )
        history += [{**r, "epoch": len(history) + r["epoch"]} for r in records]
        penalty = run.penalty
        target = c_step(state.params, run.multiplier, penalty)
        multiplier = jax.tree.map(
            lambda m, w, t, mu=penalty: m - mu * (w - t),
            run.multiplier,
            state.params,
            target,
        )
        penalty = jnp.minimum(penalty * config.multiplier, config.penalty_cap)
        run = Run(state, target, multiplier, penalty)
        if directory is not None:
            checkpoint.save(directory, round_ + 1, run, {"history": history})
    return {**trainer.compressed(run.state), "params": run.target}, history


def kernel_anchor(run: Run) -> Anchor:
    """An `Anchor` whose pull acts on kernels only."""
    return Anchor(kernels(run.target), kernels(run.multiplier), run.penalty)


def recalibrate(
    module: Any,
    variables: Variables,
    images: jax.Array,
    *,
    passes: int = 50,
) -> Variables:
    """Re-estimates batch-norm statistics for parameters that changed.

    Args:
        module: the network.
        variables: compressed; without "batch_stats" they are returned as they are.
        images: `[B, H, W, K]` normalised, one large batch.
        passes: exponential-average updates over it.

    Returns:
        Variables with new "batch_stats".
    """
    if "batch_stats" not in variables:
        return variables

    @jax.jit
    def once(stats: Any) -> Any:
        _, changed = module.apply(
            {**variables, "batch_stats": stats},
            images,
            train=True,
            mutable=["batch_stats"],
        )
        return changed["batch_stats"]

    stats = variables["batch_stats"]
    for _ in range(passes):
        stats = once(stats)
    return {**variables, "batch_stats": stats}
