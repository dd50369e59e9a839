"""Pruning: score every weight, rank, mask.

A mask comes from three choices that do not know of each other:

* a *criterion* scores the weights (`magnitude`, `gradient`, `saliency`, `random`);
* a *structure* says which weights stand or fall together (`Unstructured`, `NM`,
  `Block`, `Filter`) and turns scores into units;
* a *scope* ranks the units: "global", over the whole network, or "layer".

`prune` puts them behind a schedule as a `fidelity.scheme.Scheme`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fidelity.groups import Group, channel_masks, channel_scores
from fidelity.scheme import FlatParams, Params, Scheme, flat, kernels, nested

Criterion = Callable[[Params, Params], FlatParams]
Schedule = Callable[[jax.Array], jax.Array]
Masks = FlatParams  # bool, by path; a leaf without a mask is kept whole


def magnitude(params: Params, grads: Params) -> FlatParams:
    """`|w|` of every kernel (Han et al. 2015, arXiv:1506.02626)."""
    return {path: jnp.abs(w) for path, w in kernels(params).items()}


def gradient(params: Params, grads: Params) -> FlatParams:
    """`|dL/dw|` of every kernel."""
    return {path: jnp.abs(g) for path, g in kernels(grads).items()}


def saliency(params: Params, grads: Params) -> FlatParams:
    """`|w dL/dw|`, the first-order change of the loss (Molchanov 2017, 1611.06440)."""
    slopes = kernels(grads)
    return {path: jnp.abs(w * slopes[path]) for path, w in kernels(params).items()}


def random(key: jax.Array) -> Criterion:
    """Uniform scores, a baseline; the same key gives the same mask."""

    def criterion(params: Params, grads: Params) -> FlatParams:
        leaves = kernels(params)
        keys = jax.random.split(key, len(leaves))
        return {
            path: jax.random.uniform(k, w.shape)
            for k, (path, w) in zip(keys, sorted(leaves.items()), strict=True)
        }

    return criterion


@dataclasses.dataclass(frozen=True)
class Unstructured:
    """Single weights."""


@dataclasses.dataclass(frozen=True)
class NM:
    """Keeps the best `n` of every `m` consecutive inputs of an output (2:4 and kin).

    The groups run along the flattened input axis, `h * w * K_in`, which is how sparse
    matrix units read a kernel. Layers whose input is not divisible by `m` stay dense.
    """

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            raise ValueError(f"N:M needs 0 < n < m, got {self.n}:{self.m}")


@dataclasses.dataclass(frozen=True)
class Block:
    """Rectangles of the kernel seen as a matrix `[h * w * K_in, K_out]`.

    A block's score is the mean square of its weights' scores; ragged edges are blocks
    of their own.
    """

    rows: int = 4
    columns: int = 4

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise ValueError(f"block sides must be >= 1, got {self}")


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
    """Whole channels, removable by `fidelity.slim`; see `fidelity.groups`."""

    groups: Sequence[Group]


Structure = Unstructured | NM | Block | Filter


def keep_best(scores: jax.Array, sparsity: jax.Array | float) -> jax.Array:
    """Masks the `round(sparsity * size)` lowest scores, exactly, ties by position.

    Args:
        scores: `[n]`.
        sparsity: scalar in `[0, 1)`; may be traced.

    Returns:
        `[n]` bool, True where kept.

    Example:
        >>> keep_best(jnp.array([3.0, 1.0, 2.0, 1.0]), 0.5).tolist()
        [True, False, True, False]
    """
    removed = jnp.round(sparsity * scores.size).astype(jnp.int32)
    order = jnp.argsort(scores)
    ranks = jnp.zeros(scores.shape, jnp.int32).at[order].set(jnp.arange(scores.size))
    return ranks >= removed


def _rank(
    units: dict[str, jax.Array], sparsity: jax.Array | float, scope: str
) -> dict[str, jax.Array]:
    """Keeps the best units of each entry, or of all entries together."""
    if scope == "layer":
        return {
            path: keep_best(u.reshape(-1), sparsity).reshape(u.shape)
            for path, u in units.items()
        }
    sizes = np.cumsum([u.size for u in units.values()])[:-1]
    together = jnp.concatenate([u.reshape(-1) for u in units.values()])
    parts = jnp.split(keep_best(together, sparsity), sizes)
    return {
        path: part.reshape(u.shape)
        for part, (path, u) in zip(parts, units.items(), strict=True)
    }


def _nm_mask(scores: jax.Array, structure: NM) -> jax.Array:
    rows = scores.reshape(-1, scores.shape[-1])
    if rows.shape[0] % structure.m:
        return jnp.ones(scores.shape, bool)
    grouped = rows.reshape(-1, structure.m, rows.shape[-1])
    ranks = jnp.argsort(jnp.argsort(grouped, axis=1), axis=1)
    return (ranks >= structure.m - structure.n).reshape(scores.shape)


def _block_scores(scores: jax.Array, structure: Block) -> jax.Array:
    """Mean squares of the blocks, `[ceil(R / rows), ceil(K_out / columns)]`."""
    matrix = scores.reshape(-1, scores.shape[-1])
    pads = [(0, -matrix.shape[0] % structure.rows)]
    pads.append((0, -matrix.shape[1] % structure.columns))

    def sums(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, pads)
        shape = (x.shape[0] // structure.rows, structure.rows)
        return x.reshape(*shape, -1, structure.columns).sum((1, 3))

    return sums(jnp.square(matrix)) / sums(jnp.ones_like(matrix))


def _expand(blocks: jax.Array, like: jax.Array, structure: Block) -> jax.Array:
    wide = jnp.repeat(blocks, structure.rows, axis=0)
    wide = jnp.repeat(wide, structure.columns, axis=1)
    rows = like.size // like.shape[-1]
    return wide[:rows, : like.shape[-1]].reshape(like.shape)


def make_masks(
    params: Params,
    grads: Params,
    sparsity: jax.Array | float,
    *,
    criterion: Criterion = magnitude,
    structure: Structure = Unstructured(),
    scope: str = "global",
) -> Masks:
    """Masks for one sparsity.

    Args:
        params: nested dictionary of parameters.
        grads: same structure; read by `gradient` and `saliency` only.
        sparsity: fraction of units to remove, in `[0, 1)`, may be traced. `NM` sets its
            own. With `Filter` it is the fraction of removable channels.
        criterion: scores.
        structure: units.
        scope: "global" or "layer".

    Returns:
        Flat dictionary of bool masks, shaped like their leaves.
    """
    scores = criterion(params, grads)
    match structure:
        case Unstructured():
            return _rank(scores, sparsity, scope)
        case NM():
            return {path: _nm_mask(s, structure) for path, s in scores.items()}
        case Block():
            units = {path: _block_scores(s, structure) for path, s in scores.items()}
            kept = _rank(units, sparsity, scope)
            return {p: _expand(kept[p], s, structure) for p, s in scores.items()}
        case Filter():
            keep = keep_channels(structure.groups, params, scores, sparsity, scope)
            masks = channel_masks(structure.groups, keep, {"params": params})
            return flat(masks["params"])


def keep_channels(
    groups: Sequence[Group],
    params: Params,
    scores: FlatParams,
    sparsity: jax.Array | float,
    scope: str,
) -> list[jax.Array]:
    """Which channels of every group stay, `[size]` bool each; at least one does.

    Args:
        groups: from `fidelity.groups.channel_groups`.
        params: nested parameters.
        scores: of the kernels, by path.
        sparsity: fraction of all removable channels.
        scope: "global" or "layer" (here: group).
    """
    scored = nested({**flat(params), **scores})
    units = {str(i): channel_scores(g, scored) for i, g in enumerate(groups)}
    kept = _rank(units, sparsity, scope)
    return [
        kept[name] | (jnp.arange(unit.size) == jnp.argmax(unit))
        for name, unit in units.items()
    ]


def kept_channels(groups: Sequence[Group], params: Params) -> list[np.ndarray]:
    """Reads which channels stay back from a masked network.

    Args:
        groups: from `fidelity.groups.channel_groups`.
        params: nested parameters after `apply_masks`.

    Returns:
        For each group, `[size]` bool: False where every entry is exactly zero. The
        first channel of a group stays if none does.
    """
    leaves = flat({"params": params})
    keep = []
    for group in groups:
        alive = np.zeros(group.size, bool)
        for path, axis, positions in group.members:
            if path in leaves:
                leaf = np.asarray(leaves[path])
                others = tuple(i for i in range(leaf.ndim) if i != axis)
                alive |= (leaf != 0).any(axis=others)[positions].any(axis=1)
        alive[0] |= not alive.any()
        keep.append(alive)
    return keep


def apply_masks(params: Params, masks: Masks) -> Params:
    """Zeroes what the masks leave out; leaves without a mask pass unchanged."""
    return nested(
        {
            path: jnp.where(masks[path], leaf, 0) if path in masks else leaf
            for path, leaf in flat(params).items()
        }
    )


def constant(sparsity: float) -> Schedule:
    """The same sparsity from the first step on: one-shot pruning."""
    _check(sparsity)
    return lambda step: jnp.full((), sparsity)


def cubic(sparsity: float, *, begin: int, end: int, initial: float = 0.0) -> Schedule:
    """Gradual pruning, fast at first.

    `s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (t_1 - t_0))^3` (Zhu & Gupta 2017,
    arXiv:1710.01878, eq. 1), constant outside `[begin, end]`.

    Args:
        sparsity: `s_f`.
        begin: step `t_0`.
        end: step `t_1 > t_0`.
        initial: `s_i`.

    Raises:
        ValueError: a sparsity outside `[0, 1)` or `end <= begin`.

    Example:
        >>> schedule = cubic(0.8, begin=0, end=10)
        >>> [round(float(schedule(t)), 3) for t in (0, 5, 10, 20)]
        [0.0, 0.7, 0.8, 0.8]
    """
    _check(sparsity)
    _check(initial)
    if end <= begin:
        raise ValueError(f"the schedule must end after it begins, got {begin}..{end}")

    def schedule(step: jax.Array) -> jax.Array:
        left = 1.0 - jnp.clip((step - begin) / (end - begin), 0.0, 1.0)
        return sparsity + (initial - sparsity) * left**3

    return schedule


def _check(sparsity: float) -> None:
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(
            f"sparsity is the fraction of weights removed and must lie in [0, 1), got "
            f"{sparsity}"
        )


class PruneState(NamedTuple):
    """State of `prune`."""

    masks: Masks  # bool, by path


def prune(
    sparsity: float | Schedule,
    *,
    criterion: Criterion = magnitude,
    structure: Structure = Unstructured(),
    scope: str = "global",
    every: int = 100,
) -> Scheme:
    """Pruning as a scheme: masks follow a schedule, and a pruned weight stays pruned.

    Args:
        sparsity: final sparsity in `[0, 1)` for one-shot pruning, or a schedule such as
            `cubic(...)`. Ignored by `NM`, which sets its own.
        criterion: scores.
        structure: units.
        scope: "global" or "layer".
        every: steps between mask updates under a schedule.

    Raises:
        ValueError: sparsity outside `[0, 1)`, unknown scope, or `every < 1`.

    Example:
        >>> scheme = prune(0.5)
        >>> params = {"a": {"kernel": jnp.array([[1.0, -3.0]])}}
        >>> scheme.apply(params, scheme.init(params, params))["a"]["kernel"].tolist()
        [[0.0, -3.0]]
    """
    if scope not in ("global", "layer"):
        raise ValueError(f"unknown scope {scope!r}; choose global or layer")
    if every < 1:
        raise ValueError(f"every must be >= 1, got {every}")
    one_shot = not callable(sparsity)
    schedule = sparsity if callable(sparsity) else constant(sparsity)

    def masks_at(params: Params, grads: Params, step: jax.Array) -> Masks:
        return make_masks(
            params,
            grads,
            schedule(step),
            criterion=criterion,
            structure=structure,
            scope=scope,
        )

    def init(params: Params, grads: Params) -> PruneState:
        return PruneState(masks_at(params, grads, jnp.zeros((), jnp.int32)))

    def update(
        params: Params, grads: Params, step: jax.Array, state: PruneState
    ) -> PruneState:
        if one_shot:
            return state

        def renew() -> PruneState:
            # Masked weights score zero, the least, so the target is met without them.
            masks = masks_at(
                apply_masks(params, state.masks), apply_masks(grads, state.masks), step
            )
            return PruneState({p: m & state.masks[p] for p, m in masks.items()})

        return jax.lax.cond(step % every == 0, renew, lambda: state)

    def apply(params: Params, state: Any) -> Params:
        return apply_masks(params, state.masks)

    return Scheme(init, update, apply)
