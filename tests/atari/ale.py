"""ale-py as the oracle: recorded play, and a made-up cartridge whose memory we set."""

import functools
from pathlib import Path

import ale_py
import numpy as np

ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


def interface(path: Path, *, seed: int = 0, **options: float) -> ale_py.ALEInterface:
    """An emulator that has loaded a ROM; sticky actions off unless asked for."""
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", options.pop("sticky", 0.0))
    for name, number in options.items():
        ale.setInt(name, int(number))
    ale.loadROM(path)
    return ale


@functools.cache
def of_game(name: str) -> ale_py.ALEInterface:
    """The emulator of a game; share it only for what does not change."""
    return interface(path_of(name))


def path_of(name: str) -> Path:
    """Where ale-py keeps a ROM."""
    return Path(ale_py.__file__).parent / "roms" / f"{name}.bin"


def outcome(ale: ale_py.ALEInterface, reward: int = 0) -> tuple[int, int, int]:
    """What the rules give: reward, lives, terminal."""
    return reward, ale.lives(), int(ale.game_over(with_truncation=False))


def record(name: str, frames: int, seed: int) -> tuple[np.ndarray, ...]:
    """Random play with sticky actions.

    Returns:
      RAM `uint8[T, 128]`, outcomes `int[T, 3]` and whether the row is a reset's.
    """
    ale = interface(path_of(name), seed=seed, sticky=0.25)
    actions = ale.getLegalActionSet()
    rng = np.random.default_rng(seed)
    rams, outcomes, resets = [], [], []
    over = True
    for _ in range(frames):
        resets.append(over)
        if over:
            ale.reset_game()
            outcomes.append(outcome(ale))
        else:
            action = actions[rng.integers(len(actions))]
            outcomes.append(outcome(ale, ale.act(action)))
        rams.append(ale.getRAM().copy())
        over = bool(outcomes[-1][2])
    return np.stack(rams), np.array(outcomes), np.array(resets)


def shuffling_cartridge(mask: int = 0xFF) -> bytes:
    """A 4 KB cartridge that leaves RAM alone unless SELECT or a direction is pressed.

    Then it scrambles all 128 bytes, keeping the bits of `mask`, so that any mode can be
    selected. ale-py gives it the rules of the game whose name the file has.
    """
    program = bytes.fromhex(
        "78 D8 A2 FF 9A"  # F000 SEI; CLD; LDX #FF; TXS
        "A9 02 85 00 85 02 85 02 85 02"  # F005 VSYNC on for three lines
        "A9 00 85 00"  # F00F VSYNC off
        "A2 FA 85 02 CA D0 FB"  # F013 250 lines
        "AD 82 02 29 02 F0 07"  # F01A SELECT?
        "AD 80 02 C9 FF F0 DD"  # F021 a direction?
        "A2 7F"  # F028 each byte
        "B5 7F 2A 55 80 6D 84 02 29"  # F02A mixed with its neighbour and the timer
    )
    program += bytes([mask])  # F033
    program += bytes.fromhex("95 80 CA 10 F1 4C 05 F0")  # F034
    return program.ljust(0xFFC, b"\xea") + bytes.fromhex("00 F0 00 F0")


def counting_cartridge() -> bytes:
    """A 4 KB cartridge with short frames for the rules of Assault.

    RESET gives four lives and no points. Right adds 2 points a frame, left 1, FIRE 3; a
    life is lost every 32 frames. Twenty lines show bars that move.
    """
    program = bytes.fromhex(
        "78 D8 A2 FF 9A"  # SEI; CLD; LDX #FF; TXS
        "A9 02 85 00 85 02 85 02 85 02 A9 00 85 00"  # F005 vertical sync
        "AD 82 02 29 01 D0 0E"  # RESET?
        "A9 04 85 E5 A9 00 85 80 85 81 85 82 85 90"  # lives, points, frames
        "E6 90 A2 00"  # count frames
        "2C 80 02 30 02 E8 E8 70 01 E8"  # directions
        "A5 0C 30 03 E8 E8 E8"  # FIRE
        "F8 18 8A 65 82 85 82 A5 81 69 00 85 81 A5 80 69 00 85 80 D8"  # add
        "A5 90 29 1F D0 02 C6 E5"  # a life less
        "A2 21 85 02 CA D0 FB"  # 33 lines above
        "A2 14 8A 18 65 90 85 09 85 02 CA D0 F5"  # 20 lines of colours
        "4C 05 F0"
    )
    return program.ljust(0xFFC, b"\xea") + bytes.fromhex("00 F0 00 F0")


class VectorEnv:
    """ALE's vector environment for any ROM file."""

    def __init__(self, path: Path, num_envs: int, **options: object):
        defaults = {
            "frame_skip": 4,
            "stack_num": 4,
            "img_height": 84,
            "img_width": 84,
            "grayscale": True,
            "maxpool": True,
            "noop_max": 30,
            "use_fire_reset": True,
            "episodic_life": False,
            "life_loss_info": False,
            "reward_clipping": True,
            "max_episode_steps": 108_000,
            "repeat_action_probability": 0.0,
            "full_action_space": False,
            "batch_size": 0,
            "num_threads": 1,
            "thread_affinity_offset": -1,
            "autoreset_mode": "NextStep",
        }
        self._ale = ale_py.ALEVectorInterface(
            rom_path=path, num_envs=num_envs, **(defaults | options)
        )
        self._num_envs = num_envs

    def reset(self, seed: int) -> tuple:
        """Observations and info."""
        ids = np.arange(self._num_envs)
        return self._ale.reset(ids, seed + ids)

    def step(self, actions: np.ndarray) -> tuple:
        """Observations, rewards, terminated, truncated, info."""
        self._ale.send(actions, np.ones(self._num_envs, np.float32))
        return self._ale.recv()
