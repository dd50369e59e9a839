"""What launch scripts share: progress, JSON lines, the device's name, several hosts.

A script that says `setup(hosts=True)` runs on several hosts, the same command on each
but for --process_id:

    python -m launch.bench_scaling --system=atari \\
        --coordinator=HOST:PORT --num_processes=2 --process_id=0

`jax.devices()` are then those of all hosts, in the order of the processes. The first
process reports and writes files.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from absl import flags, logging
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "of several hosts: HOST:PORT of process 0, or auto where a cluster tells JAX",
)
_PROCESSES = flags.DEFINE_integer(
    "num_processes", 1, "of several hosts: how many", lower_bound=1
)
_PROCESS = flags.DEFINE_integer(
    "process_id", 0, "of several hosts: which one this is", lower_bound=0
)

# Tables in a log file or a pipe would otherwise be folded at 80 columns.
console = Console(width=None if sys.stdout.isatty() else 120)


def machine() -> dict[str, str]:
    """Device and versions that a figure belongs to."""
    device = jax.devices()[0]
    name = device.device_kind
    if device.platform == "cpu":
        name = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return {
        "device": name,
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "python": platform.python_version(),
    }


def setup(*, hosts: bool = False) -> None:
    """Quiet libraries, compiled programs kept across runs, other hosts connected.

    The cache is in `~/.cache/triptych` unless `JAX_COMPILATION_CACHE_DIR` says where.

    Args:
        hosts: whether the script can run on several.

    Raises:
        SystemExit: flags that name several hosts and contradict each other, or a
            script that runs on one.
    """
    if flags.FLAGS.is_parsed():
        connect(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value, hosts=hosts)
    logging.set_verbosity(logging.WARNING)  # orbax logs every file it writes
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = Path.home() / ".cache" / "triptych" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))


def connect(
    coordinator: str | None, num_processes: int, process_id: int, *, hosts: bool = True
) -> None:
    """Joins the processes of several hosts, before anything asks for a device."""
    if coordinator is None:
        if num_processes > 1 or process_id:
            raise SystemExit("error: --num_processes > 1 needs --coordinator=HOST:PORT")
        return
    if not hosts:
        raise SystemExit("error: this script runs on one host: drop --coordinator")
    if process_id >= num_processes:
        raise SystemExit(
            f"error: --process_id={process_id} must be below --num_processes="
            f"{num_processes}"
        )
    # What CPUs exchange arrays by; other back ends have their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if coordinator == "auto":
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    console.quiet = not is_first()


def is_first() -> bool:
    """Whether this process is the one that reports."""
    return jax.process_index() == 0


@contextlib.contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar; the yielded `advance(message="", steps=1)` moves it."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[message]}"),
        console=console,
        refresh_per_second=2,
    ) as bar:
        task = bar.add_task(description, total=total, message="")

        def advance(message: str = "", steps: int = 1) -> None:
            bar.update(task, advance=steps, message=message)

        yield advance


def append_json(path: str | Path, row: dict[str, Any]) -> None:
    """Adds one JSON line, flushed to disk."""
    with Path(path).open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()


def write_atomically(path: str | Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = Path(path).with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
