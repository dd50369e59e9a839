"""Colours against ale-py, resizing against OpenCV and ALE's vector environment."""

import sys

import jax
import numpy as np
import pytest
from ale import interface, path_of
from ale_py import Action as AleAction
from hypothesis import given, settings, strategies as st
from jax import numpy as jnp

from atari import observe

SIZES = [(210, 84, 84), (214, 84, 84), (220, 84, 84), (230, 84, 84), (250, 84, 84)]
SIZES += [(210, 96, 96), (210, 64, 64), (210, 105, 80), (210, 70, 40), (210, 210, 84)]


@pytest.mark.parametrize("game", ["seaquest", "video_pinball", "air_raid", "klax"])
def test_colours_are_those_of_ale(game: str) -> None:
    """Air Raid loses its colours now and then, which shows the odd indices."""
    ale = interface(path_of(game))
    pal = ale.getScreenDims()[0] == 250
    rng = np.random.default_rng(0)
    actions = ale.getLegalActionSet()
    odd = 0
    for i in range(400):
        ale.act(actions[rng.integers(len(actions))])
        if ale.game_over():
            ale.reset_game()
        if i % 20:
            continue
        screen = ale.getScreen()
        odd += int((screen & 1).sum())
        np.testing.assert_array_equal(observe.rgb(screen, pal), ale.getScreenRGB())
        np.testing.assert_array_equal(
            observe.grey(screen, pal), ale.getScreenGrayscale()
        )
    assert odd > 0 or game != "air_raid"


def test_palettes_are_complete() -> None:
    for pal, colours in ((False, 128), (True, 104)):
        found = observe.palette(pal)
        assert len(np.unique(found.rgb[::2], axis=0)) == colours
        assert (found.rgb[1::2] == found.rgb[1::2, :1]).all()  # grey


def test_without_ale_py_there_is_advice(monkeypatch) -> None:
    observe.palette.cache_clear()
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(ModuleNotFoundError, match="pip install ale-py"):
        observe.palette()


def area(image: np.ndarray, height: int, width: int) -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(("lines", "height", "width"), SIZES)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_resize_equals_opencv(lines, height, width, channels) -> None:
    """To the bit, compiled and batched, for noise and for a game's few colours."""
    rng = np.random.default_rng(lines + height)
    noise = rng.integers(0, 256, (40, lines, 160, *channels), np.uint8)
    noise[20:] = observe.palette().grey[noise[20:] & 0x0E]
    resize = jax.jit(jax.vmap(lambda image: observe.resize(image, (height, width))))
    found = np.asarray(resize(noise))
    for image, small in zip(noise, found, strict=True):
        np.testing.assert_array_equal(small, area(image, height, width))


def test_resize_without_compilation() -> None:
    image = np.random.default_rng(0).integers(0, 256, (210, 160), np.uint8)
    with jax.disable_jit():
        found = observe.resize(jnp.asarray(image), (84, 84))
    np.testing.assert_array_equal(found, area(image, 84, 84))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 255))
def test_a_flat_picture_stays_flat(height: int, width: int, level: int) -> None:
    image = jnp.full((60, 60), level, jnp.uint8)
    assert (observe.resize(image, (height, width)) == level).all()


@pytest.mark.parametrize("size", [(0, 84), (211, 84), (84, 161)])
def test_sizes_out_of_range_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot shrink an image of 210x160"):
        observe.resize(jnp.zeros((210, 160), jnp.uint8), size)


def test_a_screen_of_ale_shrinks_as_in_its_vector_environment() -> None:
    """Without OpenCV: the first observation of a game that was reset."""
    from ale_py.vector_env import AtariVectorEnv

    envs = AtariVectorEnv("seaquest", 1, noop_max=0, use_fire_reset=False)
    seen, _ = envs.reset(seed=3)
    ale = interface(path_of("seaquest"), seed=3)
    ale.reset_game()
    small = observe.resize(observe.grey(ale.getScreen()), (84, 84))
    np.testing.assert_array_equal(small, seen[0, -1])
    seen, *_ = envs.step(np.array([0]))
    frames = []
    for _ in range(4):
        ale.act(AleAction.NOOP)
        frames.append(observe.grey(ale.getScreen()))
    small = observe.resize(jnp.maximum(frames[2], frames[3]), (84, 84))
    np.testing.assert_array_equal(small, seen[0, -1])
