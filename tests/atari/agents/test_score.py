"""Human-normalised scores."""

import math

import pytest

from atari import rom
from atari.agents import score


def test_published_scores_are_of_known_games() -> None:
    assert len(score.PUBLISHED) == 57
    assert set(score.PUBLISHED) <= set(rom.names())


@pytest.mark.parametrize(
    ("game", "points", "expected"),
    [
        ("breakout", 401.2, 13.87),  # DQN in Nature: 1327 % of a human by other scores
        ("pong", -20.7, 0.0),
        ("skiing", -4336.9, 1.0),
    ],
)
def test_normalisation(game, points, expected) -> None:
    assert score.human_normalised(game, points) == pytest.approx(expected, abs=0.01)


def test_a_game_without_scores() -> None:
    assert math.isnan(score.human_normalised("combat", 1))
