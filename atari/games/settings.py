"""What a player can do and choose: actions, starting actions, modes, difficulties."""

import dataclasses
import functools

from atari.actions import RESET, Action
from atari.games.selection import SELECTIONS, Selection

# Games that are not here use all 18 actions.
_MINIMAL = {
    "journey_escape": (
        "NOOP UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT RIGHTFIRE LEFTFIRE "
        "DOWNFIRE UPRIGHTFIRE UPLEFTFIRE DOWNRIGHTFIRE DOWNLEFTFIRE"
    ),
    "asteroids": (
        "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT UPFIRE RIGHTFIRE LEFTFIRE "
        "DOWNFIRE "
        "UPRIGHTFIRE UPLEFTFIRE"
    ),
    "keystone_kapers": (
        "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT UPFIRE "
        "RIGHTFIRE "
        "LEFTFIRE DOWNFIRE"
    ),
    "kung_fu_master": (
        "NOOP UP RIGHT LEFT DOWN DOWNRIGHT DOWNLEFT RIGHTFIRE LEFTFIRE DOWNFIRE "
        "UPRIGHTFIRE UPLEFTFIRE DOWNRIGHTFIRE DOWNLEFTFIRE"
    ),
    "turmoil": (
        "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT RIGHTFIRE "
        "LEFTFIRE"
    ),
    "amidar mr_do time_pilot wizard_of_wor": (
        "NOOP FIRE UP RIGHT LEFT DOWN UPFIRE RIGHTFIRE LEFTFIRE DOWNFIRE"
    ),
    "othello tic_tac_toe_3d video_chess": (
        "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT"
    ),
    "asterix crazy_climber koolaid lost_luggage ms_pacman": (
        "NOOP UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT"
    ),
    "beam_rider": "NOOP FIRE UP RIGHT LEFT UPRIGHT UPLEFT RIGHTFIRE LEFTFIRE",
    "enduro": "NOOP FIRE RIGHT LEFT DOWN DOWNRIGHT DOWNLEFT RIGHTFIRE LEFTFIRE",
    "video_pinball": "NOOP FIRE UP RIGHT LEFT DOWN UPFIRE RIGHTFIRE LEFTFIRE",
    "gopher": "NOOP FIRE UP RIGHT LEFT UPFIRE RIGHTFIRE LEFTFIRE",
    "phoenix": "NOOP FIRE RIGHT LEFT DOWN RIGHTFIRE LEFTFIRE DOWNFIRE",
    "tutankham": "NOOP UP RIGHT LEFT DOWN UPFIRE RIGHTFIRE LEFTFIRE",
    "assault": "NOOP FIRE UP RIGHT LEFT RIGHTFIRE LEFTFIRE",
    (
        "air_raid carnival demon_attack galaxian name_this_game pong sir_lancelot "
        "space_invaders"
    ): "NOOP FIRE RIGHT LEFT RIGHTFIRE LEFTFIRE",
    "basic_math king_kong qbert": "NOOP FIRE UP RIGHT LEFT DOWN",
    "bowling pooyan up_n_down": "NOOP FIRE UP DOWN UPFIRE DOWNFIRE",
    "frogger pacman surround": "NOOP UP RIGHT LEFT DOWN",
    "tetris": "NOOP FIRE RIGHT LEFT DOWN",
    "video_checkers": "FIRE UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT",
    "atlantis atlantis2": "NOOP FIRE RIGHTFIRE LEFTFIRE",
    "blackjack casino": "NOOP FIRE UP DOWN",
    "breakout kaboom": "NOOP FIRE RIGHT LEFT",
    "backgammon": "FIRE RIGHT LEFT",
    "freeway": "NOOP UP DOWN",
    "skiing": "NOOP RIGHT LEFT",
}

_NO_FIRE = ("lost_luggage", "skiing")

# Pressed after the console's reset, one a frame; a number repeats what follows it.
_STARTING = {
    "air_raid asterix enduro gopher journey_escape kaboom lost_luggage mr_do turmoil "
    "up_n_down yars_revenge": "FIRE",
    "beam_rider": "RIGHT",
    "casino": "60 NOOP 2 FIRE",
    "darkchambers": "486 NOOP",
    "double_dunk": "UPFIRE",
    "elevator_action gravitar": "16 FIRE",
    "entombed": "FIRE 5 NOOP",
    "keystone_kapers laser_gates": "RESET",
    "klax": "FIRE NOOP",
    "mario_bros": "10 NOOP 7 FIRE",
    "pitfall pitfall2 private_eye": "UP",
    "sir_lancelot": "RESET LEFT",
    "skiing": "16 DOWN",
    "video_cube": "61 NOOP FIRE 2 NOOP",
    "word_zapper": "486 NOOP FIRE 2 NOOP",
}

# Games that are not here have difficulty 0 only.
_DIFFICULTIES = {
    (0, 1, 2, 3): (
        "adventure alien bank_heist blackjack boxing casino et fishing_derby "
        "ice_hockey "
        "pong private_eye superman surround tennis up_n_down venture word_zapper"
    ),
    (0, 3): "amidar asteroids",
    (3,): "backgammon",
    (0, 2, 3): "basic_math",
    (0, 1): (
        "beam_rider bowling breakout chopper_command crazy_climber crossbow defender "
        "demon_attack freeway frogger galaxian gopher hangman haunted_house "
        "human_cannonball journey_escape lost_luggage miniature_golf name_this_game "
        "pacman qbert riverraid seaquest space_invaders trondead video_cube "
        "video_pinball "
        "wizard_of_wor yars_revenge"
    ),
    (0, 2): "entombed othello tic_tac_toe_3d",
    (0, 1, 2): "time_pilot",
}

_PADDLE_MAX = {"backgammon": 1_000_000, "blackjack": 795_000}


@dataclasses.dataclass(frozen=True)
class Settings:
    """A game's choices.

    Attributes:
      minimal_actions: Actions that have an effect, ascending.
      legal_actions: Actions that are not turned into NOOP, ascending.
      starting_actions: Played one a frame at the end of a reset; `actions.RESET` is the
        console's switch.
      modes: Game modes; the first is the default.
      difficulties: Positions of the two difficulty switches, bit 0 left, bit 1 right;
        the default is 0, even where it is not listed.
      selection: How a mode is selected; None if there is only one.
      paddle_max: Largest resistance of a paddle.
    """

    minimal_actions: tuple[int, ...]
    legal_actions: tuple[int, ...]
    starting_actions: tuple[int, ...]
    modes: tuple[int, ...]
    difficulties: tuple[int, ...]
    selection: Selection | None
    paddle_max: int


def _lookup(table: dict[str, str], name: str, default: str) -> str:
    return next((v for names, v in table.items() if name in names.split()), default)


def _sequence(text: str) -> tuple[int, ...]:
    actions: list[int] = []
    times = 1
    for word in text.split():
        if word.isdigit():
            times = int(word)
        else:
            actions += times * [RESET if word == "RESET" else Action[word].value]
            times = 1
    return tuple(actions)


@functools.cache
def settings(name: str) -> Settings:
    """The settings of a game; an unknown one has all actions and nothing else."""
    every = " ".join(Action.__members__)
    legal = tuple(a for a in Action if name not in _NO_FIRE or "FIRE" not in a.name)
    found = [d for d, names in _DIFFICULTIES.items() if name in names.split()]
    selection = SELECTIONS.get(name)
    return Settings(
        minimal_actions=_sequence(_lookup(_MINIMAL, name, every)),
        legal_actions=tuple(a.value for a in legal),
        starting_actions=_sequence(_lookup(_STARTING, name, "")),
        modes=selection.modes if selection else (0,),
        difficulties=found[0] if found else (0,),
        selection=selection,
        paddle_max=_PADDLE_MAX.get(name, 790_196),
    )
