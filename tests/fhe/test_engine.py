"""How levels are cut into batches."""

import pytest
from hypothesis import given, strategies as st

from fhe.engine import split_level

POWERS = [1, 2, 8, 64]


@given(
    st.integers(0, 50),
    st.integers(0, 3000),
    st.sampled_from(POWERS),
    st.sampled_from(POWERS),
    st.integers(1, 4),
    st.sampled_from([1, 16]),
)
def test_batches_cover_a_level_once(start, width, smallest, factor, devices, full):
    largest = smallest * factor
    chunks = split_level(start, start + width, largest, smallest, devices, full=full)
    covered = [g for c in chunks for g in range(c.start, c.stop)]
    assert covered == list(range(start, start + width))
    for chunk in chunks:
        each, rest = divmod(chunk.size, devices)
        assert rest == 0
        assert smallest <= each <= largest
        assert each & (each - 1) == 0
        assert chunk.stop - chunk.start <= chunk.size
        if each > max(smallest, full):
            per_device = -(-(chunk.stop - chunk.start) // devices)
            assert per_device > 3 * each // 4


@pytest.mark.parametrize(
    ("width", "sizes"),
    [(1, [8]), (9, [8, 8]), (13, [16]), (70, [64, 8]), (200, [64, 64, 64, 8])],
)
def test_examples(width, sizes):
    assert [c.size for c in split_level(0, width, 64, 8)] == sizes


@pytest.mark.parametrize(
    ("width", "sizes"),
    [(1, [8]), (9, [16]), (17, [32]), (33, [32, 8]), (50, [64]), (75, [64, 16])],
)
def test_small_batches_are_not_cut(width, sizes):
    """Where one takes less time than two of half its size."""
    assert [c.size for c in split_level(0, width, 64, 8, full=32)] == sizes
