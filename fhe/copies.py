"""Several inputs to one program, as one wide circuit."""

import numpy as np

from fhe.circuit import Circuit, Port, Signature


def side_by_side(circuit: Circuit, copies: int) -> Circuit:
    """The same program on several inputs at once; levels are so many times wider.

    Gates of all copies share their level's batches, so that a narrow program, which
    leaves a GPU idle, takes hardly longer for many inputs than for one.

    Args:
        circuit: the program.
        copies: `C`.

    Returns:
        A circuit of which every parameter and result is an array `[C, ...]`.

    Raises:
        ValueError: less than one copy.

    Example:
        >>> adder = fhe.compile("int add(int a, int b) { return a + b; }")
        >>> side_by_side(adder, 3).simulate([[1, 2, 3], [4, 5, 6]])["return"].tolist()
        [5, 7, 9]
    """
    if copies < 1:
        raise ValueError(f"copies must be at least 1, got {copies}")
    inputs = circuit.num_inputs
    starts, widths = np.asarray(circuit.level_starts), circuit.widths
    # Where wire w of copy c is: inputs parameter by parameter, gates level by level.
    places = np.empty((copies, inputs + circuit.num_bootstraps), np.int32)
    places[:, :inputs] = _spread(circuit.signature.parameters, copies)
    within = np.arange(circuit.num_bootstraps) - np.repeat(starts[:-1], widths)
    first = inputs * copies + np.repeat(starts[:-1], widths) * copies + within
    steps = np.arange(copies)[:, None] * np.repeat(widths, widths)
    places[:, inputs:] = first + steps
    order = np.argsort(places[:, inputs:], axis=None)

    def gates(values: np.ndarray) -> np.ndarray:
        """Values of all copies, in the order of their wires."""
        return values.reshape(copies * circuit.num_bootstraps, *values.shape[2:])[order]

    def same(values: np.ndarray) -> np.ndarray:
        return gates(np.broadcast_to(values, (copies, *values.shape)))

    weights = same(circuit.weights)
    operands = gates(places[:, circuit.operands])
    results = _spread(circuit.signature.results, copies)
    by_result = np.argsort(results, axis=None)

    def outputs(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, results.shape).reshape(-1)[by_result]

    spare = np.pad(places, ((0, 0), (0, 1)))  # for constants of a circuit without wires
    wires = spare[:, np.where(circuit.output_constant < 0, circuit.outputs, 0)]
    return Circuit(
        num_inputs=inputs * copies,
        operands=np.where(weights == 0, 0, operands).astype(np.int32),
        weights=weights,
        offset=same(circuit.offset),
        level_starts=(starts * copies).astype(np.int32),
        outputs=outputs(wires).astype(np.int32),
        output_negate=outputs(circuit.output_negate),
        output_constant=outputs(circuit.output_constant),
        signature=Signature(
            _ports(circuit.signature.parameters, copies),
            _ports(circuit.signature.results, copies),
        ),
    )


def _ports(ports: tuple[Port, ...], copies: int) -> tuple[Port, ...]:
    return tuple(
        Port(port.name, port.c_type, port.width, port.signed, (copies, *port.shape))
        for port in ports
    )


def _spread(ports: tuple[Port, ...], copies: int) -> np.ndarray:
    """Where bit i of copy c is among the bits of all, int [C, I]."""
    rows, start = [np.zeros((copies, 0), np.int64)], 0
    for port in ports:
        bits = np.arange(copies * port.bits).reshape(copies, port.bits)
        rows.append(copies * start + bits)
        start += port.bits
    return np.concatenate(rows, axis=1)
