"""Settings of an environment, and the published protocols as named sets of them."""

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Config:
    """How a game is made into a task. The defaults are those of ALE's vector env.

    Attributes:
      frame_skip: Emulated frames a step; the action holds for all of them.
      repeat_action_probability: Sticky actions: the probability, each frame, that the
        action before is repeated (Machado et al., 2018).
      full_actions: All legal actions instead of those that the game uses.
      noop_max: Idle actions after a reset, fewer than this at random; 0 for none.
      fire_reset: FIRE is pressed after a reset if the game uses it.
      episodic_life: A lost life ends the episode.
      reset_on_life_loss: And resets the game; otherwise the next episode goes on where
        this one ended.
      life_loss_info: A lost life is reported as the end, but the game goes on.
      clip_rewards: Rewards of a step are clipped to [-1, 1].
      max_frames: Emulated frames after which an episode is truncated; 0 for never.
      count_selection: Frames in which a reset selects the mode count as well.
      observation: "grey", "rgb" or "ram".
      size: Height and width of pictures, by area resize; None for the screen's.
      max_pool: Pixel-wise maximum of a step's last two frames.
      stack: Observations stacked, oldest first; None for one without that axis.
      fill_stack: A reset fills the stack with its observation, not with zeros.
      stale_end: A step cut short leaves the picture buffers as they were, as in ALE's
        vector env; otherwise its last frame is shown, unpooled.
      stop_drawing: No random numbers are drawn in the rest of a step cut short.
      rng: "jax" for keys; "ale" for the streams of the reference emulator, in which
        case the key of `reset` is its integer seed.
    """

    frame_skip: int = 4
    repeat_action_probability: float = 0.0
    full_actions: bool = False
    noop_max: int = 30
    fire_reset: bool = True
    episodic_life: bool = False
    reset_on_life_loss: bool = True
    life_loss_info: bool = False
    clip_rewards: bool = True
    max_frames: int = 108_000
    count_selection: bool = False
    observation: Literal["grey", "rgb", "ram"] = "grey"
    size: tuple[int, int] | None = (84, 84)
    max_pool: bool = True
    stack: int | None = 4
    fill_stack: bool = False
    stale_end: bool = True
    stop_drawing: bool = True
    rng: Literal["jax", "ale"] = "jax"

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          ValueError: One is out of range.
        """
        if self.frame_skip < 1:
            raise ValueError(f"frame_skip must be at least 1, not {self.frame_skip}")
        if not 0 <= self.repeat_action_probability <= 1:
            raise ValueError(
                "repeat_action_probability must be from 0 to 1, not "
                f"{self.repeat_action_probability}"
            )
        if self.observation not in ("grey", "rgb", "ram"):
            raise ValueError(
                f"observation must be grey, rgb or ram, not {self.observation!r}"
            )
        if self.stack is not None and self.stack < 1:
            raise ValueError(f"stack must be None or at least 1, not {self.stack}")
        if self.rng not in ("jax", "ale"):
            raise ValueError(f"rng must be jax or ale, not {self.rng!r}")
        if min(self.noop_max, self.max_frames) < 0:
            raise ValueError("noop_max and max_frames must not be negative")


_NATURE: dict[str, Any] = {"stale_end": False, "reset_on_life_loss": False}

PRESETS: dict[str, Config] = {
    "ale_vector": Config(),
    "gym_v5": Config(
        repeat_action_probability=0.25,
        noop_max=0,
        fire_reset=False,
        clip_rewards=False,
        count_selection=True,
        observation="rgb",
        size=None,
        max_pool=False,
        stack=None,
        stale_end=False,
        stop_drawing=False,
    ),
    "dqn": Config(episodic_life=True, **_NATURE),
    "machado": Config(
        repeat_action_probability=0.25,
        full_actions=True,
        noop_max=0,
        fire_reset=False,
        clip_rewards=False,
        frame_skip=5,
        max_frames=18_000,
        **_NATURE,
    ),
    "envpool": Config(clip_rewards=False, fill_stack=True, **_NATURE),
    "cule": Config(
        fire_reset=False, clip_rewards=False, max_frames=0, stack=None, **_NATURE
    ),
}
"""Protocols by name.

`ale_vector` is `ale_py.vector_env.AtariVectorEnv` and `gym_v5` gymnasium's
`ALE/<Game>-v5`, both equal to the bit with `rng="ale"`. `dqn` follows Mnih et al.,
Nature 2015; `machado` Machado et al., JAIR 2018; `envpool` Weng et al., 2022, except
that tall screens are not cropped and FIRE comes before the idle actions; `cule` Dalton
and Frosio, 2020, except that pictures are shrunk by area.
"""


def config(preset: str = "ale_vector", **changes: Any) -> Config:
    """A preset with some settings changed.

    Raises:
      ValueError: Unknown preset, or a setting out of range.
      TypeError: Unknown setting.

    Example:
      >>> config("machado", frame_skip=4).frame_skip
      4
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    return dataclasses.replace(PRESETS[preset], **changes)
