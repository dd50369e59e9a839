"""What launch scripts share: progress, JSON lines, the device's name."""

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
from absl import logging
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
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


def setup() -> None:
    """Quiet libraries, and compiled programs kept across runs.

    The cache is in `~/.cache/triptych` unless `JAX_COMPILATION_CACHE_DIR` says where.
    """
    logging.set_verbosity(logging.WARNING)  # orbax logs every file it writes
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = Path.home() / ".cache" / "triptych" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))


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
