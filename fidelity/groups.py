"""Which channels of which arrays must be removed together.

Removing output channel `j` of a convolution removes entry `j` of the normalisation
behind it, column `j` of every layer that reads it, and, through a residual sum, channel
`j` of every layer that is added to it. `channel_groups` finds these sets by following
each channel through the traced network, as DepGraph does for autograd graphs (Fang et
al. 2023, arXiv:2301.12900): every position of every axis is a node, and an operation
that ties two positions merges their nodes. What is not understood (slices, shuffles,
grouped convolutions, unknown operations) freezes the channels it touches: they are
kept, and the result stays exact.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from fidelity.scheme import Params, flat, nested

# Ids of the nodes along one axis; FREE where there is nothing to follow.
Axis = np.ndarray  # [axis size] int64
Label = tuple[Axis, ...]  # one for each axis of an array

FREE = -1

_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}
_REDUCTIONS = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
# Every output entry depends on the operands' entries at the same position alone.
_ELEMENTWISE = frozenset(
    name
    for line in (
        "abs add add_any and ceil clamp convert_element_type copy cos div eq erf exp",
        "exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min",
        "mul ne neg not optimization_barrier or pow reduce_precision rem round rsqrt",
        "select_n sign sin sqrt square stop_gradient sub tanh",
    )
    for name in line.split()
)


class Member(NamedTuple):
    """Where a group's channels lie along one axis of one leaf."""

    path: str  # e.g. "params/Conv_0/kernel"
    axis: int
    positions: np.ndarray  # [size, repeats] int64, of each channel


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Channels that live in the same arrays and can each be removed.

    Attributes:
        size: number of channels.
        members: every axis that holds them.
    """

    size: int
    members: tuple[Member, ...]


class _Nodes:
    """Union-find over the positions of all axes, with a frozen flag on each set."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.frozen: list[bool] = []

    def make(self, size: int) -> Axis:
        start = len(self.parent)
        self.parent.extend(range(start, start + size))
        self.frozen.extend([False] * size)
        return np.arange(start, start + size)

    def find(self, node: int) -> int:
        while self.parent[node] != node:
            self.parent[node] = self.parent[self.parent[node]]
            node = self.parent[node]
        return node

    def merge(self, a: Axis, b: Axis) -> Axis:
        """Ties two axes position by position and returns their common ids."""
        if not np.array_equal(a, b):
            for x, y in zip(a.tolist(), b.tolist(), strict=True):
                if x == FREE or y == FREE:
                    continue
                x, y = self.find(x), self.find(y)
                self.parent[x] = y
                self.frozen[y] = self.frozen[y] or self.frozen[x]
        return np.where(a == FREE, b, a)

    def freeze(self, *labels: Label) -> None:
        for label in labels:
            for axis in label:
                for node in axis.tolist():
                    if node != FREE:
                        self.frozen[self.find(node)] = True


def _free(shape: Sequence[int]) -> Label:
    return tuple(np.full(size, FREE) for size in shape)


def _is_free(axis: Axis) -> bool:
    return bool(np.all(axis == FREE))


class _Tracer:
    """Carries labels through a jaxpr, operation by operation."""

    def __init__(self) -> None:
        self.nodes = _Nodes()

    def run(self, jaxpr: Any, labels: Sequence[Label]) -> list[Label]:
        """Labels of the outputs of an open jaxpr, given those of its inputs."""
        env: dict[Any, Label] = dict(zip(jaxpr.invars, labels, strict=True))

        def read(atom: Any) -> Label:
            if isinstance(atom, core.Literal) or atom not in env:
                return _free(atom.aval.shape)
            return env[atom]

        for equation in jaxpr.eqns:
            inputs = [read(atom) for atom in equation.invars]
            outputs = self.apply(equation, inputs)
            env.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def apply(self, equation: Any, inputs: list[Label]) -> list[Label]:
        name, options = equation.primitive.name, equation.params
        shapes = [v.aval.shape for v in equation.outvars]
        if name in _CALLS and _CALLS[name] in options:
            inner = options[_CALLS[name]]
            return self.run(getattr(inner, "jaxpr", inner), inputs)
        if name in _ELEMENTWISE:
            return [self.elementwise(shape, inputs) for shape in shapes]
        rule = getattr(self, f"rule_{name}", None)
        if name in _REDUCTIONS:
            rule = self.reduce
        elif name.startswith("reduce_window"):
            rule = self.window
        result = rule(inputs, options, shapes[0]) if rule else None
        return self.unknown(inputs, shapes) if result is None else [result]

    def unknown(
        self, inputs: list[Label], shapes: Sequence[Sequence[int]]
    ) -> list[Label]:
        self.nodes.freeze(*inputs)
        if all(_is_free(axis) for label in inputs for axis in label):
            return [_free(shape) for shape in shapes]
        outputs = [tuple(self.nodes.make(size) for size in shape) for shape in shapes]
        self.nodes.freeze(*outputs)
        return outputs

    def elementwise(self, shape: Sequence[int], inputs: list[Label]) -> Label:
        result = list(_free(shape))
        for label in inputs:
            for i, axis in enumerate(label):  # scalars have no axes
                if axis.size == shape[i]:
                    result[i] = self.nodes.merge(result[i], axis)
        return tuple(result)

    def reduce(self, inputs: list[Label], options: Any, shape: Any) -> Label | None:
        axes = options["axes"]
        if any(not _is_free(inputs[0][axis]) for axis in axes):
            return None  # e.g. a mean over channels, which changes with their number
        return tuple(a for i, a in enumerate(inputs[0]) if i not in axes)

    def window(self, inputs: list[Label], options: Any, shape: Any) -> Label | None:
        result = list(_free(shape))
        for i, axis in enumerate(inputs[0]):
            if _is_free(axis):
                continue
            if options["window_dimensions"][i] != 1 or shape[i] != axis.size:
                return None
            result[i] = axis
        return tuple(result)

    def rule_conv_general_dilated(
        self, inputs: list[Label], options: Any, shape: Any
    ) -> Label | None:
        numbers, groups = options["dimension_numbers"], options["feature_group_count"]
        x, kernel = inputs
        channels = x[numbers.lhs_spec[1]]
        into, out = kernel[numbers.rhs_spec[1]], kernel[numbers.rhs_spec[0]]
        if options["batch_group_count"] != 1:
            return None
        if groups == 1:
            self.nodes.merge(channels, into)
        elif groups == channels.size == out.size:  # depthwise
            out = self.nodes.merge(channels, out)
            self.nodes.freeze((into,))
        else:
            return None
        self.nodes.freeze(tuple(kernel[i] for i in numbers.rhs_spec[2:]))
        result = list(_free(shape))
        result[numbers.out_spec[1]] = out
        return tuple(result)

    def rule_dot_general(
        self, inputs: list[Label], options: Any, shape: Any
    ) -> Label | None:
        (contract_x, contract_y), (batch_x, batch_y) = options["dimension_numbers"]
        x, y = inputs
        for i, j in zip(contract_x, contract_y, strict=True):
            self.nodes.merge(x[i], y[j])
        together = [
            self.nodes.merge(x[i], y[j]) for i, j in zip(batch_x, batch_y, strict=True)
        ]
        rest = [a for i, a in enumerate(x) if i not in (*contract_x, *batch_x)]
        rest += [a for i, a in enumerate(y) if i not in (*contract_y, *batch_y)]
        return (*together, *rest)

    def rule_broadcast_in_dim(
        self, inputs: list[Label], options: Any, shape: Any
    ) -> Label:
        result = list(_free(shape))
        for axis, target in zip(
            inputs[0], options["broadcast_dimensions"], strict=True
        ):
            if axis.size == shape[target]:
                result[target] = axis
        return tuple(result)

    def rule_transpose(self, inputs: list[Label], options: Any, shape: Any) -> Label:
        return tuple(inputs[0][i] for i in options["permutation"])

    def rule_squeeze(self, inputs: list[Label], options: Any, shape: Any) -> Label:
        return tuple(
            a for i, a in enumerate(inputs[0]) if i not in options["dimensions"]
        )

    def rule_expand_dims(self, inputs: list[Label], options: Any, shape: Any) -> Label:
        rest = iter(inputs[0])
        return tuple(
            np.full(1, FREE) if i in options["dimensions"] else next(rest)
            for i in range(len(shape))
        )

    def rule_concatenate(
        self, inputs: list[Label], options: Any, shape: Any
    ) -> Label | None:
        where = options["dimension"]
        result = list(_free(shape))
        for i in range(len(shape)):
            if i == where:
                result[i] = np.concatenate([label[i] for label in inputs])
            else:
                for label in inputs:
                    result[i] = self.nodes.merge(result[i], label[i])
        return tuple(result)

    def rule_pad(self, inputs: list[Label], options: Any, shape: Any) -> Label | None:
        result = list(_free(shape))
        for i, (axis, pads) in enumerate(
            zip(inputs[0], options["padding_config"], strict=True)
        ):
            if not _is_free(axis):
                if any(pads):
                    return None
                result[i] = axis
        return tuple(result)

    def rule_reshape(
        self, inputs: list[Label], options: Any, shape: Any
    ) -> Label | None:
        result: list[Axis] = []
        for sources, sizes in _blocks(inputs[0], shape):
            tracked = [i for i, axis in enumerate(sources) if not _is_free(axis)]
            if not tracked:
                result += _free(sizes)
                continue
            wide = [i for i, size in enumerate(sizes) if size > 1]
            if len(tracked) > 1 or len(wide) != 1:
                return None
            # Flattening repeats a channel once for every position merged into it.
            dims = [axis.size for axis in sources]
            ids = sources[tracked[0]].reshape(
                [-1 if i == tracked[0] else 1 for i in range(len(dims))]
            )
            block = list(_free(sizes))
            block[wide[0]] = np.broadcast_to(ids, dims).reshape(-1)
            result += block
        return tuple(result)


def _blocks(
    label: Label, shape: Sequence[int]
) -> list[tuple[list[Axis], Sequence[int]]]:
    """Pairs the smallest runs of old and new axes that hold equally many entries."""
    blocks: list[tuple[list[Axis], Sequence[int]]] = []
    i = j = 0
    while i < len(label) or j < len(shape):
        first, second = i, j
        old = label[i].size if i < len(label) else 1
        new = shape[j] if j < len(shape) else 1
        i, j = min(i + 1, len(label)), min(j + 1, len(shape))
        while old != new:
            if old < new:
                old *= label[i].size
                i += 1
            else:
                new *= shape[j]
                j += 1
        blocks.append((list(label[first:i]), tuple(shape[second:j])))
    return blocks


def channel_groups(
    apply: Callable[[Any, jax.Array], Any], variables: Any, example: Any
) -> tuple[Group, ...]:
    """Finds the channels that can be removed.

    Args:
        apply: `(variables, images) -> Output` or an array of logits. Input channels and
            logits are kept.
        variables: nested dictionary with "params" and, if any, "batch_stats".
        example: one batch of images or its `jax.ShapeDtypeStruct`.

    Returns:
        Groups in the order in which their channels first appear in `variables`.

    Example:
        >>> shapes = {"a": (3, 5), "b": (5, 2)}
        >>> weights = {k: {"kernel": jnp.ones(s)} for k, s in shapes.items()}
        >>> def apply(variables, x):
        ...     p = variables["params"]
        ...     return jax.nn.relu(x @ p["a"]["kernel"]) @ p["b"]["kernel"]
        >>> (group,) = channel_groups(apply, {"params": weights}, jnp.ones((1, 3)))
        >>> group.size, [(m.path, m.axis) for m in group.members]
        (5, [('params/a/kernel', 1), ('params/b/kernel', 0)])
    """
    leaves = flat(variables)

    def logits(leaves: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        output = apply(nested(leaves), x)
        return getattr(output, "logits", output)

    shapes = {p: jax.ShapeDtypeStruct(w.shape, w.dtype) for p, w in leaves.items()}
    closed = jax.make_jaxpr(logits)(shapes, example)
    tracer = _Tracer()
    nodes = tracer.nodes
    paths = sorted(leaves)  # the order in which a dictionary is flattened
    labels = {p: tuple(nodes.make(s) for s in leaves[p].shape) for p in paths}
    image = (*_free(example.shape[:-1]), nodes.make(example.shape[-1]))
    nodes.freeze(image)
    nodes.freeze(*tracer.run(closed.jaxpr, [*(labels[p] for p in paths), image]))
    return _collect(nodes, {p: labels[p] for p in paths})


def _collect(nodes: _Nodes, labels: dict[str, Label]) -> tuple[Group, ...]:
    channels: dict[int, dict[tuple[str, int], list[int]]] = {}
    for path, label in labels.items():
        for axis, ids in enumerate(label):
            for position, node in enumerate(ids.tolist()):
                root = nodes.find(node)
                if not nodes.frozen[root]:
                    where = channels.setdefault(root, {})
                    where.setdefault((path, axis), []).append(position)
    alike: dict[Any, list[dict[tuple[str, int], list[int]]]] = {}
    for where in channels.values():
        # A channel of one axis only ties nothing: an axis that the network never reads.
        if len(where) > 1:
            signature = tuple((key, len(at)) for key, at in where.items())
            alike.setdefault(signature, []).append(where)
    return tuple(
        Group(
            len(members),
            tuple(
                Member(path, axis, np.array([m[path, axis] for m in members]))
                for (path, axis), _ in signature
            ),
        )
        for signature, members in alike.items()
    )


def channel_scores(group: Group, params: Params) -> jax.Array:
    """Mean score of the weights that produce each channel.

    Args:
        group: the channels.
        params: nested dictionary; leaves named "kernel" hold scores.

    Returns:
        `[size]` float32, comparable between layers of different fan-in.
    """
    leaves = flat({"params": params})
    total, count = jnp.zeros(group.size), 0
    for path, axis, positions in group.members:
        leaf = leaves.get(path)
        if leaf is None or not path.endswith("kernel") or axis != leaf.ndim - 1:
            continue
        sums = jnp.sum(leaf, axis=tuple(range(leaf.ndim - 1)))
        total = total + jnp.sum(sums[positions], axis=1)
        count += leaf.size // leaf.shape[-1] * positions.shape[1]
    return total / max(count, 1)


def channel_masks(
    groups: Sequence[Group], keep: Sequence[jax.Array], variables: Any
) -> Any:
    """Masks that zero every entry of every channel that is not kept.

    Args:
        groups: from `channel_groups`.
        keep: for each group, `[size]` bool.
        variables: nested dictionary; leaves outside it are passed over.

    Returns:
        Nested dictionary of bool masks for the leaves that the groups touch.
    """
    leaves = flat(variables)
    # A position is one node, and so in one group at most; -1 stands for in none.
    owners: dict[tuple[str, int], np.ndarray] = {}
    start = 0
    for group in groups:
        own = start + np.arange(group.size)[:, None]
        for path, axis, positions in group.members:
            if path in leaves:
                none = np.full(leaves[path].shape[axis], -1)
                owners.setdefault((path, axis), none)[positions] = own
        start += group.size
    kept = jnp.concatenate([*map(jnp.asarray, keep), jnp.ones(1, bool)])
    masks: dict[str, jax.Array] = {}
    for (path, axis), owner in owners.items():
        shape = leaves[path].shape
        along = kept[owner].reshape([-1 if i == axis else 1 for i in range(len(shape))])
        masks[path] = masks.get(path, True) & jnp.broadcast_to(along, shape)
    return nested(masks)
