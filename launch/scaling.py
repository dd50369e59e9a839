"""How the speed of a load grows with the devices: measuring, rows, table, picture.

A load is made for some devices and an amount of work. Strong scaling keeps the amount,
weak scaling the amount a device. With several processes every one of them makes the
same calls; those without a device in a measurement wait for the others.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

Devices = tuple[jax.Device, ...]
Row = dict[str, Any]


class Work(NamedTuple):
    """A load on some devices.

    Attributes:
        call: does the work once and waits for it; the first call compiles.
        amount: of the load's unit that one call does.
        exchange: only what the devices send one another in a call, if they do.
        check: raises ValueError if what the last call found is wrong.
    """

    call: Callable[[], Any]
    amount: float
    exchange: Callable[[], Any] | None = None
    check: Callable[[], None] = lambda: None


class Load(NamedTuple):
    """A kind of work.

    Attributes:
        name: in tables.
        unit: of the amounts.
        size: of the work of the fewest devices.
        make: `(devices, size) -> Work`.
    """

    name: str
    unit: str
    size: int
    make: Callable[[Devices, int], Work]


def places(devices: Sequence[jax.Device]) -> np.ndarray:
    """Which of the devices are this process's, int [P]."""
    here = jax.process_index()
    return np.array([i for i, d in enumerate(devices) if d.process_index == here], int)


def share(size: int, devices: Sequence[jax.Device], what: str) -> int:
    """The part of each device.

    Raises:
        ValueError: it is not a whole number.
    """
    each, left = divmod(size, len(devices))
    if left or not each:
        raise ValueError(f"{size} {what} do not split over {len(devices)} devices")
    return each


def usable(asked: Sequence[str]) -> tuple[list[int], list[str]]:
    """The numbers of devices that can be measured, and why others cannot.

    Raises:
        ValueError: something is not a number of devices.
    """
    try:
        counts = sorted({int(text) for text in asked})
    except ValueError:
        counts = [0]
    if not counts or counts[0] < 1:
        raise ValueError(f"devices must be numbers such as 1,2,4; got {list(asked)}")
    present, here = jax.device_count(), jax.local_device_count()
    found, refused = [], []
    for count in counts:
        if count > present:
            refused.append(f"{count} devices are left out: {present} present")
        elif count > here and count % here:
            refused.append(
                f"{count} devices are left out: not whole hosts of {here} each"
            )
        else:
            found.append(count)
    return found, refused


def seconds_of(call: Callable[[], Any], repeats: int) -> tuple[float, list[float]]:
    """Seconds of the first call, and of the others."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1:]


def measure(
    load: Load,
    counts: Sequence[int],
    kinds: Sequence[str],
    repeats: int,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Measures a load on the first devices, so many at a time.

    Args:
        load: what to do.
        counts: numbers of devices in rising order.
        kinds: of "strong" and "weak".
        repeats: timed calls.
        on_row: called with each row.

    Returns:
        A row a kind and number: `rate` (units a second, median), `slowest`, `fastest`,
        `speedup` (against the first number, which counts as itself), `efficiency`
        (speed-up a device), `communication` (share of time; None if there is none). No
        rows in any process but the first.
    """
    # The fewest devices do the same work in both kinds.
    known: dict[tuple[int, int], Row] = {}
    rows: list[Row] = []
    for kind in kinds:
        for count in counts:
            size = load.size
            if kind == "weak":
                size = size * count // counts[0]
            if (count, size) not in known:
                known[count, size] = _measure(load, count, size, repeats)
            if not known[count, size]:
                continue
            row: Row = {"load": load.name, "scaling": kind, "devices": count}
            row |= {"size": size, "unit": load.unit} | known[count, size]
            base = rows[-counts.index(count)] if count != counts[0] else row
            row["speedup"] = counts[0] * row["rate"] / base["rate"]
            row["efficiency"] = row["speedup"] / count
            rows.append(row)
            on_row(row)
    return rows


def _measure(load: Load, count: int, size: int, repeats: int) -> Row:
    """What the first process, which has the first device, finds; {} in others."""
    devices = tuple(jax.devices()[:count])
    row: Row = {}
    name = f"{load.name} {count} {size}"
    work = load.make(devices, size) if places(devices).size else None
    together(f"{name} begins")
    if work is not None:
        first, seconds = seconds_of(work.call, repeats)
        work.check()
        middle = statistics.median(seconds)
        communication = None
        if work.exchange is not None:
            each = statistics.median(seconds_of(work.exchange, repeats)[1])
            communication = each / middle
        row = {
            "hosts": len({d.process_index for d in devices}),
            "seconds": middle,
            "rate": work.amount / middle,
            "slowest": work.amount / max(seconds),
            "fastest": work.amount / min(seconds),
            "communication": communication,
            "first_call_seconds": first,
        }
    together(f"{name} ends")
    return row if jax.process_index() == 0 else {}


def together(name: str) -> None:
    """Waits until all processes are here, for an hour at most.

    Not by an exchange between devices, of which those of CPUs give up after 30 seconds.
    """
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost  # here, since it takes seconds

        multihost.get_barrier_sync_fn()(key=name, timeout_ms=3_600_000)


def reduction(tree: Any, devices: Devices, times: int) -> Callable[[], Any]:
    """Averages arrays of some shapes over devices, so many times in a row.

    Args:
        tree: pytree of arrays or their shapes, of one device.
        devices: of the load.
        times: averages in a call.
    """

    def run(place: jax.Array) -> jax.Array:
        # Unlike on each device, so that no average can be foreseen.
        own = jax.tree.map(lambda x: jnp.full(x.shape, place, x.dtype), tree)

        def body(_: int, tree: Any) -> Any:
            return jax.lax.pmean(tree, "devices")

        found = jax.lax.fori_loop(0, times, body, own)
        return sum(x.astype(jnp.float32).sum() for x in jax.tree.leaves(found))

    mapped = jax.pmap(run, "devices", devices=devices)
    return lambda: jax.block_until_ready(mapped(places(devices)))


def table(rows: Sequence[Row], title: str) -> Table:
    """Rows for a terminal."""
    made = Table(title=title)
    made.add_column("load")
    names = ("scaling", "devices", "a second", "spread", "speed-up", "efficiency")
    for name in (*names, "exchange", "first s"):
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        shared = row["communication"]
        made.add_row(
            row["load"],
            row["scaling"],
            f"{row['devices']}",
            f"{_short(row['rate'])} {row['unit']}",
            f"{_short(row['slowest'])} to {_short(row['fastest'])}",
            f"{row['speedup']:.2f}",
            f"{row['efficiency']:.1%}",
            "none" if shared is None else f"{shared:.2%}",
            f"{row['first_call_seconds']:.1f}",
        )
    return made


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"


def plot(path: str | Path, rows: Sequence[Row], title: str) -> Path:
    """Draws speed-up against devices, beside the ideal, both kinds of scaling."""
    import matplotlib  # here, since it takes a second

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    kinds = list(dict.fromkeys(row["scaling"] for row in rows))
    width = 1 + 3.6 * len(kinds)
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(width, 3.4), sharey=True, squeeze=False
    )
    for axis, kind in zip(axes[0], kinds, strict=True):
        own = [row for row in rows if row["scaling"] == kind]
        counts = sorted({row["devices"] for row in own})
        axis.plot(counts, counts, color="grey", linestyle=":", label="ideal")
        for name in dict.fromkeys(row["load"] for row in own):
            line = [row for row in own if row["load"] == name]
            axis.plot(
                [row["devices"] for row in line],
                [row["speedup"] for row in line],
                marker="o",
                markersize=4,
                label=name,
            )
        axis.set_xticks(counts)
        axis.set_xlabel("devices")
        axis.set_title(f"{kind} scaling", size=10)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("speed-up")
    axes[0][0].legend(fontsize=7)
    figure.suptitle(title, size=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return Path(path)
