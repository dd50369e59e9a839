"""Circuit: a compiled program, as levels of gates that one bootstrap each evaluates.

A wire carries +1/8 of the torus for true and -1/8 for false. Gate `g` is the sign of

    offset[g]/8 + sum_i weights[g, i] * wire[operands[g, i]]

so that gates of all kinds in one level are one batch: weights are data, not branches.
Inversion is a sign and costs nothing.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Inputs: TypeAlias = Mapping[str, Any] | Sequence[Any]

# |offset| and sorted |weights|, in eighths, of each kind of gate.
KINDS = {
    (1, (0, 1, 1)): "and2",
    (2, (0, 2, 2)): "xor2",
    (0, (1, 1, 1)): "maj3",
    (0, (2, 2, 2)): "xor3",
    (2, (1, 1, 1)): "nae3",
    (1, (1, 1, 2)): "ax3",
}


@dataclasses.dataclass(frozen=True)
class Port:
    """A parameter or result: an integer or an array of integers.

    Attributes:
        name: C name; fields are spelt `point.x`, the returned value `return`.
        c_type: C type of one element, such as `unsigned char`.
        width: bits of one element, least significant first.
        signed: whether an element is in two's complement.
        shape: array shape, () for one integer; row-major.
    """

    name: str
    c_type: str
    width: int
    signed: bool
    shape: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bits(self) -> int:
        """Bits of all elements."""
        return self.width * self.count

    @property
    def dtype(self) -> np.dtype:
        """The NumPy type that holds an element; object beyond 64 bits."""
        if self.width == 1 and not self.signed:
            return np.dtype(bool)
        for size in (8, 16, 32, 64):
            if self.width <= size:
                return np.dtype(f"{'int' if self.signed else 'uint'}{size}")
        return np.dtype(object)

    def describe(self) -> str:
        """C declaration, such as `short a[4]`."""
        return f"{self.c_type} {self.name}" + "".join(f"[{n}]" for n in self.shape)


@dataclasses.dataclass(frozen=True)
class Signature:
    """Parameters and results, in the order of their bits."""

    parameters: tuple[Port, ...]
    results: tuple[Port, ...]


@dataclasses.dataclass(frozen=True)
class Circuit:
    """A levelised gate list. See the module's text for what a gate computes.

    Attributes:
        num_inputs: wires 0 to num_inputs-1 are the encrypted input bits.
        operands: int32 [G, 3], wires read by a gate; an unused slot has wire 0,
            weight 0.
        weights: int8 [G, 3].
        offset: int8 [G], in eighths of the torus.
        level_starts: int32 [L+1]; level l is gates level_starts[l]:level_starts[l+1],
            which read only inputs and gates of earlier levels.
        outputs: int32 [O], wire of each output bit; gate g is wire num_inputs + g.
        output_negate: bool [O].
        output_constant: int8 [O], -1 if not constant, else 0 or 1.
        signature: parameters and results, their bits least significant first.
    """

    num_inputs: int
    operands: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    level_starts: np.ndarray
    outputs: np.ndarray
    output_negate: np.ndarray
    output_constant: np.ndarray
    signature: Signature

    @property
    def num_bootstraps(self) -> int:
        """Gates, each one bootstrap."""
        return len(self.offset)

    @property
    def depth(self) -> int:
        """Levels."""
        return len(self.level_starts) - 1

    @property
    def widths(self) -> np.ndarray:
        """Gates of each level, int [L]."""
        return np.diff(self.level_starts)

    @property
    def counts(self) -> dict[str, int]:
        """Gates by kind: and2 (also OR and NOR), xor2, maj3, xor3, nae3, ax3."""
        weights = np.sort(np.abs(self.weights), axis=1)
        found = Counter(
            zip(np.abs(self.offset).tolist(), map(tuple, weights.tolist()), strict=True)
        )
        return {kind: found[key] for key, kind in KINDS.items() if found[key]}

    def check(self) -> None:
        """Raises ValueError if the lists contradict each other."""
        gates, levels = self.num_bootstraps, self.level_starts
        if self.operands.shape != (gates, 3) or self.weights.shape != (gates, 3):
            raise ValueError("operands and weights must be [gates, 3]")
        if levels[0] != 0 or levels[-1] != gates or (np.diff(levels) <= 0).any():
            raise ValueError("level_starts must rise from 0 to the number of gates")
        first = np.repeat(levels[:-1], self.widths) + self.num_inputs
        used = self.weights != 0
        bad = used & ((self.operands < 0) | (self.operands >= first[:, None]))
        if bad.any():
            gate = int(np.argmax(bad.any(axis=1)))
            raise ValueError(
                f"gate {gate} reads a wire that is not of an earlier level"
            )
        known = set(self.counts)
        if sum(self.counts.values()) != gates:
            raise ValueError(
                f"a gate is of no known kind (known here: {sorted(known)})"
            )
        limit = self.num_inputs + gates
        live = self.output_constant < 0
        if ((self.outputs[live] < 0) | (self.outputs[live] >= limit)).any():
            raise ValueError("an output reads a wire that does not exist")
        if sum(port.bits for port in self.signature.parameters) != self.num_inputs:
            raise ValueError("the parameters' bits are not as many as the inputs")
        if sum(port.bits for port in self.signature.results) != len(self.outputs):
            raise ValueError("the results' bits are not as many as the outputs")

    def evaluate_bits(self, bits: np.ndarray) -> np.ndarray:
        """Output bits, bool [..., O], of input bits, bool [..., num_inputs]."""
        bits = np.asarray(bits, bool)
        if bits.shape[-1:] != (self.num_inputs,):
            raise ValueError(f"{bits.shape[-1:]} input bits, not {self.num_inputs}")
        batch = int(np.prod(bits.shape[:-1], dtype=np.int64))
        flat = bits.reshape(batch, self.num_inputs).T
        wires = np.empty(
            (self.num_inputs + self.num_bootstraps + 1, flat.shape[1]), np.int8
        )
        wires[: self.num_inputs] = np.where(flat, 1, -1)
        wires[-1] = -1  # read by outputs of a circuit without wires
        operands, weights, offset = self.operands, self.weights, self.offset
        for start, end in zip(
            self.level_starts[:-1], self.level_starts[1:], strict=True
        ):
            total = np.repeat(offset[start:end, None], flat.shape[1], axis=1)
            for slot in range(3):
                total += (
                    weights[start:end, slot, None] * wires[operands[start:end, slot]]
                )
            # The torus wraps at 8; its upper half is negative.
            positive = (total & 7) < 4
            wires[self.num_inputs + start : self.num_inputs + end] = 2 * positive - 1
        result = (wires[self.outputs] > 0) ^ self.output_negate[:, None]
        constant = self.output_constant[:, None]
        result = np.where(constant < 0, result, constant > 0)
        return result.T.reshape(*bits.shape[:-1], len(self.outputs))

    def pack(self, inputs: Inputs) -> np.ndarray:
        """Input bits, bool [num_inputs] or [B, num_inputs], of Python or NumPy values.

        Args:
            inputs: a value for each parameter by name (fields as `{"p": {"x": 1}}` or
                `{"p.x": 1}`), or values in order. Arrays have the parameter's shape; a
                leading batch axis, the same for all, is allowed.

        Raises:
            ValueError: for missing, unknown, misshapen or too large values.
        """
        ports = self.signature.parameters
        values = _by_name(inputs, ports)
        arrays = [_integers(port, values[port.name]) for port in ports]
        sizes = [
            len(array)
            for port, array in zip(ports, arrays, strict=True)
            if array.ndim > len(port.shape)
        ]
        batched, batch = bool(sizes), max(sizes, default=1)
        pieces = [np.zeros((batch, 0), bool)]
        for port, array in zip(ports, arrays, strict=True):
            lead = (batch,) if array.ndim > len(port.shape) else ()
            if array.shape != (*lead, *port.shape):
                raise ValueError(
                    f"{port.describe()} got shape {array.shape}, "
                    f"not {port.shape} or {(batch, *port.shape)}"
                )
            bits = _to_bits(array.reshape(*lead, port.count), port)
            pieces.append(np.broadcast_to(bits, (batch, port.bits)))
        result = np.concatenate(pieces, axis=1)
        return result if batched else result[0]

    def unpack(self, bits: np.ndarray) -> dict[str, Any]:
        """Results by name of output bits, bool [O] or [B, O].

        A single integer is a Python int, anything else an array of the port's dtype.
        """
        bits = np.asarray(bits, bool)
        results: dict[str, Any] = {}
        start = 0
        for port in self.signature.results:
            part = bits[..., start : start + port.bits]
            start += port.bits
            shape = (*bits.shape[:-1], *port.shape)
            value = _from_bits(part.reshape(*shape, port.width), port)
            results[port.name] = value if shape else value.item()
        return results

    def simulate(self, inputs: Inputs) -> dict[str, Any]:
        """Runs the program in the clear, through the same gates.

        Args:
            inputs: see `pack`.

        Returns:
            Results by name; the returned value is `return`.

        Example:
            >>> circuit = fhe.compile("int add(int a, int b) { return a + b; }")
            >>> circuit.simulate({"a": 2, "b": 3})
            {'return': 5}
        """
        return self.unpack(self.evaluate_bits(self.pack(inputs)))


def _by_name(inputs: Inputs, ports: Sequence[Port]) -> dict[str, Any]:
    names = [port.name for port in ports]
    if not isinstance(inputs, Mapping):
        if len(inputs) != len(ports):
            raise ValueError(f"{len(inputs)} values for the parameters {names}")
        return dict(zip(names, inputs, strict=True))
    values: dict[str, Any] = {}

    def flatten(prefix: str, mapping: Mapping[str, Any]) -> None:
        for key, value in mapping.items():
            if isinstance(value, Mapping):
                flatten(f"{prefix}{key}.", value)
            else:
                values[prefix + key] = value

    flatten("", inputs)
    if set(values) != set(names):
        missing, extra = set(names) - set(values), set(values) - set(names)
        raise ValueError(
            f"missing values {sorted(missing)}, unknown names {sorted(extra)}; "
            f"the parameters are {names}"
        )
    return values


def _integers(port: Port, value: Any) -> np.ndarray:
    """The value as an array of integers in the port's range."""
    if isinstance(value, (bytes, bytearray)):
        value = np.frombuffer(value, np.uint8)
    array = np.asarray(value)
    if array.dtype.kind not in "biuO":
        raise ValueError(f"{port.describe()} needs integers, not {array.dtype}")
    low = -(1 << (port.width - 1)) if port.signed else 0
    high = low + (1 << port.width) - 1
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        raise ValueError(
            f"{port.describe()} holds {low} to {high}; "
            f"got {array.min()} to {array.max()}"
        )
    return array


def _to_bits(array: np.ndarray, port: Port) -> np.ndarray:
    if port.width > 64:
        wide = np.array(array, object)
        planes = [((wide >> i) & 1).astype(bool) for i in range(port.width)]
        bits = np.stack(planes, axis=-1)
    else:
        kind = np.int64 if port.signed else np.uint64
        words = array.astype(kind).view(np.uint64)
        places = np.arange(port.width, dtype=np.uint64)
        bits = (words[..., None] >> places & np.uint64(1)).astype(bool)
    return bits.reshape(*array.shape[:-1], port.bits)


def _from_bits(bits: np.ndarray, port: Port) -> np.ndarray:
    if port.width > 64:
        weights = np.array([1 << i for i in range(port.width)], object)
        if port.signed:
            weights[-1] = -weights[-1]
        return np.array((bits.astype(object) * weights).sum(axis=-1), object)
    places = np.arange(port.width, dtype=np.uint64)
    words = (bits.astype(np.uint64) << places).sum(axis=-1, dtype=np.uint64)
    if not port.signed:
        return np.asarray(words).astype(port.dtype)
    spare = np.int64(64 - port.width)
    signed = (words << np.uint64(spare)).view(np.int64) >> spare
    return np.asarray(signed).astype(port.dtype)


def random_inputs(circuit: Circuit, rng: np.random.Generator) -> dict[str, Any]:
    """Uniform values for every parameter, by name, for `Circuit.pack`."""
    values = {}
    for port in circuit.signature.parameters:
        bits = rng.integers(0, 2, (*port.shape, port.width)).astype(bool)
        values[port.name] = _from_bits(bits, port)
    return values
