"""Who learnt what and got what right: two bits a model and example, packed.

Shapes: `M` models, `N` training examples, `T` test examples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Votes(NamedTuple):
    """Who learnt what and got what right; bits packed along examples."""

    member: np.ndarray  # [M, ceil(N / 8)] uint8, model was trained on the example
    train: np.ndarray  # [M, ceil(N / 8)] uint8, model is right on it
    test: np.ndarray  # [M, ceil(T / 8)] uint8
    train_index: np.ndarray  # [N] int64, ids as in `Dataset.index`
    test_index: np.ndarray  # [T] int64

    @property
    def num_models(self) -> int:
        """`M`."""
        return len(self.member)


def unpack(bits: np.ndarray, count: int) -> np.ndarray:
    """`[..., ceil(count / 8)] uint8 -> [..., count]` bool."""
    return np.unpackbits(bits, axis=-1, count=count).astype(bool)


def without_collapsed(votes: Votes, fraction: float = 0.5) -> Votes:
    """The votes of models that learnt something.

    At a high learning rate one model in many collapses to a constant answer, which says
    nothing of single examples and only adds noise.

    Args:
        votes: of all models.
        fraction: of the median test accuracy that a model must reach.
    """
    accuracy = unpack(votes.test, len(votes.test_index)).mean(1)
    kept = accuracy >= fraction * np.median(accuracy)
    return votes._replace(
        member=votes.member[kept], train=votes.train[kept], test=votes.test[kept]
    )


def save(path: str | Path, votes: Votes) -> None:
    """Writes `votes` to an npz file, whole or not at all."""
    partial = Path(path).with_suffix(".partial.npz")
    np.savez_compressed(partial, allow_pickle=False, **votes._asdict())
    partial.replace(path)


def load(path: str | Path) -> Votes:
    """Reads a file of `save`.

    Raises:
        ValueError: the file is damaged, or something else.
    """
    try:
        # NumPy leaves a damaged file open.
        with Path(path).open("rb") as file, np.load(file) as saved:
            return Votes(**{name: saved[name] for name in Votes._fields})
    except FileNotFoundError:
        raise
    # NumPy and zipfile each raise their own types for damaged files.
    except Exception as error:
        raise ValueError(
            f"{path} holds no votes, or is damaged ({type(error).__name__}); remove it "
            "to train its models again"
        ) from error


def read_runs(paths: Sequence[str | Path]) -> Votes:
    """`Votes` out of published runs, one `aux_arrays.npz` a model.

    The format of https://github.com/google-research/heldout-influence-estimation:
    `correctness_S` and `index_S` for `S` in train, removed, test.

    Raises:
        ValueError: no file, or runs about different examples.
    """
    if not paths:
        raise ValueError("no runs given")
    members, trains, tests, ids = [], [], [], None
    for path in paths:
        with np.load(path) as run:
            index = np.concatenate([run["index_train"], run["index_removed"]])
            right = np.concatenate(
                [run["correctness_train"], run["correctness_removed"]]
            )
            member = np.arange(len(index)) < len(run["index_train"])
            order, test_order = np.argsort(index), np.argsort(run["index_test"])
            own = index[order], run["index_test"][test_order]
            test = run["correctness_test"][test_order]
        ids = ids or own
        if not all(map(np.array_equal, own, ids)):
            raise ValueError(f"{path} is about other examples than {paths[0]}")
        members.append(member[order])
        trains.append(right[order].astype(bool))
        tests.append(test.astype(bool))
    assert ids is not None
    bits = [np.packbits(np.stack(x), axis=1) for x in (members, trains, tests)]
    train_index, test_index = (x.astype(np.int64) for x in ids)
    return Votes(bits[0], bits[1], bits[2], train_index, test_index)
