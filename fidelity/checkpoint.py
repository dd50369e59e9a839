"""Orbax checkpoints of pytrees, with JSON metadata that says what they belong to."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp


def save(directory: str | Path, step: int, tree: Any, metadata: Mapping) -> None:
    """Writes checkpoint `step` and removes the one before it.

    A checkpoint appears whole or not at all: a killed writer leaves the last one.

    Args:
        directory: made if missing.
        step: increasing number, e.g. finished epochs.
        tree: pytree of arrays.
        metadata: JSON-serialisable.
    """
    with _manager(directory) as manager:
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(tree),
                metadata=ocp.args.JsonSave(dict(metadata)),
            ),
        )
        manager.wait_until_finished()


def latest(directory: str | Path) -> int | None:
    """The newest step in `directory`, None if there is none."""
    if not Path(directory).is_dir():
        return None
    with _manager(directory) as manager:
        return manager.latest_step()


def restore(directory: str | Path, like: Any) -> tuple[int, Any, dict[str, Any]]:
    """Reads the newest checkpoint.

    Args:
        directory: as given to `save`.
        like: pytree with the shapes and types to expect.

    Returns:
        `(step, tree, metadata)`.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the checkpoint is damaged, or belongs to other shapes, such as a
            network with another number of classes.
    """
    step = latest(directory)
    if step is None:
        raise FileNotFoundError(f"no checkpoint in {directory}")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    with _manager(directory) as manager:
        with _reading(directory, step):
            found = _shapes(manager.item_metadata(step)["state"])
        _check_shapes(directory, found, _shapes(shapes))
        with _reading(directory, step):
            metadata = manager.restore(
                step, args=ocp.args.Composite(metadata=ocp.args.JsonRestore())
            )["metadata"]
            tree = manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(shapes))
            )["state"]
    if metadata is None:
        raise ValueError(
            f"the checkpoint {directory}/{step} has lost its metadata; remove the "
            "folder to start again"
        )
    return step, tree, metadata


@contextlib.contextmanager
def _reading(directory: str | Path, step: int) -> Iterator[None]:
    """Orbax, tensorstore and JSON each raise their own types for damaged files."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"the checkpoint {directory}/{step} is damaged or belongs to another "
            f"network ({type(error).__name__}: {str(error)[:300]}); remove the "
            "folder to start again"
        ) from error


def _check_shapes(
    directory: str | Path,
    found: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, tuple[int, ...]],
) -> None:
    """Compares before a read: Orbax warns of a shape that differs, or gives up midway.

    A read given up leaves others running, which complain when they end.
    """
    for name, shape in wanted.items():
        if name not in found or found[name] != shape:
            raise ValueError(
                f"{directory}: {name} has shape {found.get(name)}, expected {shape}: "
                "the checkpoint belongs to another network or another number of classes"
            )
    if alone := found.keys() - wanted.keys():
        raise ValueError(
            f"{directory}: {', '.join(sorted(alone)[:5])} are in the checkpoint alone: "
            "it belongs to another network"
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """By name alone, since Orbax keeps a named tuple as a dictionary."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _manager(directory: str | Path) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        Path(directory).resolve(),
        item_handlers={
            "state": ocp.StandardCheckpointHandler(),
            "metadata": ocp.JsonCheckpointHandler(),
        },
        options=ocp.CheckpointManagerOptions(
            max_to_keep=1, enable_async_checkpointing=False
        ),
    )
