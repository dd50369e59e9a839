"""The rules of every game: one line each for the regular ones."""

from collections.abc import Callable

from jax import numpy as jnp

from atari.games import boards, contests, irregular
from atari.games.rules import Int, Memory, Rules, Value, scored


def _wrap(size: int) -> Callable[[Int], Int]:
    """The score counter starts again at 0."""
    return lambda change: jnp.where(change < 0, change + size, change)


def _digits(*addresses: int, blank: int = 10) -> Value:
    """A score of one digit a byte, lowest first; a blank digit counts 0."""

    def read(memory: Memory) -> Int:
        digits = [memory(address) & 15 for address in addresses]
        return sum(
            (jnp.where(d == blank, 0, d) * 10**i for i, d in enumerate(digits)),
            jnp.int32(0),
        )

    return read


def _not_negative(change: Int) -> Int:
    return jnp.maximum(change, 0)


_RULES: dict[str, Rules] = {
    "adventure": irregular.adventure(),
    "air_raid": scored("AA A9 A8", 1, "A7=FF"),
    "alien": irregular.alien(),
    "amidar": scored("D9 DA DB", "D6&0F", "D6=80"),
    "assault": scored("82 81 80", "E5", "E5=0"),
    "asterix": scored("E0 DF DE", "D3&0F", "C7=1 D3&0F=1"),
    "asteroids": scored("BE BD", "BC>>4", "BC>>4=0", times=10, reward=_wrap(100_000)),
    "atlantis": scored("A2 A3 A1", "F1", "F1=FF", times=100, hold=True),
    "atlantis2": scored("A1 A2 A3", "F1", "F1=FF", hold=True),
    "backgammon": boards.backgammon(),
    "bank_heist": scored("DA D9 D8", "D5", "CE=1 D5=0"),
    "basic_math": scored("84", 1, "86!=0"),
    "battle_zone": irregular.battle_zone(),
    "beam_rider": irregular.beam_rider(),
    "berzerk": scored("DF DE DD", "DA+1", "DA=FF"),
    "blackjack": irregular.blackjack(),
    "bowling": scored("A1 A6", 0, "A4>10"),
    "boxing": contests.boxing(),
    "breakout": irregular.breakout(),
    "carnival": scored("AE AD", 0, "83=0", times=10),
    "casino": irregular.casino(),
    "centipede": scored("F6 F5 F4", "ED>>4&7+1", "A6&40!=0", reward=_not_negative),
    "chopper_command": irregular.chopper_command(),
    "crazy_climber": scored(
        lambda r: r(0x82) + 10 * r(0x83) + 100 * r(0x84) + 1000 * r(0x85),
        "AA",
        "AA=0",
        times=100,
        reward=_not_negative,
    ),
    "crossbow": scored("8D 8C 8B", 1, "E7=82"),
    "darkchambers": irregular.darkchambers(),
    "defender": scored(_digits(*range(0x9C, 0xA2)), "C2", "C2=0"),
    "demon_attack": irregular.demon_attack(),
    "donkey_kong": scored("88 87", "A3", "A3=0 8F=3 8B=1F", times=100),
    "double_dunk": contests.double_dunk(),
    "earthworld": scored("A7", 1, lambda r: r.decimal(0xA7) == 10),
    "elevator_action": scored("89 88 87", "83", "83=0 81!=0"),
    "enduro": irregular.enduro(),
    "entombed": scored(lambda r: r(0xE3), 1, "C7&3=0"),
    "et": scored("E1 E0 DF", irregular.et_lives, "E5=FF 80=8"),
    "fishing_derby": contests.fishing_derby(),
    "flag_capture": scored("EA", 1, "EB=0"),
    "freeway": scored("E7", 0, "96=1", reward=lambda c: jnp.clip(c, 0, 1)),
    "frogger": scored("CE CC", "D0", "D0=FF"),
    "frostbite": scored("CA C9 C8", "CC&0F+1", "CC&0F=0 F1&80!=0"),
    "galaxian": scored("AE AD AC", "B9+1", "BF&80!=0", reward=_wrap(1_000_000)),
    "gopher": scored("B2 B1 B0", irregular.gopher_lives, "B4&7=0"),
    "gravitar": scored("89 88 87", irregular.gravitar_lives, "81=1"),
    "hangman": contests.hangman(),
    "haunted_house": irregular.haunted_house(),
    "hero": scored("B9 B8 B7", "B3", "B3=0"),
    "human_cannonball": scored(
        "B6", 1, lambda r: (r.decimal(0xB6) == 7) | (r.decimal(0xB7) == 7)
    ),
    "ice_hockey": contests.ice_hockey(),
    "jamesbond": scored("DC DD DE", "86&0F+1", "86&0F=0 8C=68"),
    "journey_escape": scored(
        "92 91 90",
        0,
        "95=0 96=0",
        reward=lambda c: jnp.where(c == 50_000, 0, c),  # the stake at the start
    ),
    "kaboom": scored(
        "A5 A4 A3",
        1,
        lambda r: (r(0xA1) == 0) | (r.decimal(0xA5, 0xA4, 0xA3) == 999_999),
    ),
    "kangaroo": scored("A8 A7", "AD&7+1", "AD=FF", times=100),
    "keystone_kapers": scored("9C 9B", "96", "96=0 88=0"),
    "king_kong": scored("83 82", "EE", "EE=0"),
    "klax": boards.klax(),
    "koolaid": scored("81 80", 0, "D1=80", times=100),
    "krull": scored("9E 9D 9C", "9F&7+1", "9F=0 A2=3 80=80"),
    "kung_fu_master": scored("9A 99 98", "9D&7+1", "9D=FF"),
    "laser_gates": scored("82 81 80", 0, "83=0"),
    "lost_luggage": scored("96 95 94", "CA", "CA=0 C8=A A5=0 A9=0"),
    "mario_bros": scored("8A 89", "87", "87=0", times=100),
    "miniature_golf": irregular.miniature_golf(),
    "montezuma_revenge": scored("95 94 93", "BA&7+1", "BA=0 FE=60"),
    "mr_do": scored("82 83", "DB", "DA=40", times=10),
    "ms_pacman": scored("F8 F9 FA", "FB&7+1", "FB&0F=0 A7=53"),
    "name_this_game": scored("C6 C5 C4", "C7&7", "C7&7=0"),
    "othello": boards.othello(),
    "pacman": scored("CC CE D0", "98+1", "98=0 E4=3F"),
    "phoenix": scored(
        lambda r: 10 * r.decimal(0xC8, 0xC9) + (r(0xC7) >> 4), "CB&7", "CC=80", times=10
    ),
    "pitfall": scored("D7 D6 D5", irregular.pitfall_lives, "80>>4=0 9E!=0", first=2000),
    "pitfall2": scored(
        "C9 C8 C7", 1, lambda r: r.decimal(0xC9, 0xC8, 0xC7) == 199_000, first=4000
    ),
    "pong": contests.pong(),
    "pooyan": scored("8A 89 88", "96&7+1", "96=0 98=5"),
    "private_eye": scored("CA C9 C8", 0, "C2>1", first=1000),
    "qbert": irregular.qbert(),
    "riverraid": irregular.riverraid(),
    "road_runner": scored(
        _digits(*range(0xC9, 0xCD)),
        "C4&7+1",
        "C4&7=0 B9!=0|C4&7=0 BD!=0",
        times=100,
    ),
    "robotank": scored(lambda r: 12 * r(0xB6) + r(0xB5), "A8&0F+1", "A8=0 B4=FF"),
    "seaquest": scored("BA B9 B8", "BB+1", "A3!=0"),
    "sir_lancelot": scored("A0 9F 9E", "A9", "A9=0 A7=A0"),
    "skiing": scored(
        lambda r: 6000 * r(0xE8) + r.decimal(0xEA, 0xE9),  # hundredths of a second
        0,
        "91=FF",
        reward=lambda c: -c,
    ),
    "solaris": scored("DC DD DE", "D9&0F", "D9=0", times=10),
    "space_invaders": scored("E8 E6", "C9", "98&80!=0|C9=0", reward=_wrap(10_000)),
    "space_war": scored("A7", 1, lambda r: (r.decimal(0xA7) == 10) | (r(0x80) == 0)),
    "star_gunner": irregular.star_gunner(),
    "superman": irregular.superman(),
    "surround": contests.surround(),
    "tennis": contests.tennis(),
    "tetris": irregular.tetris(),
    "tic_tac_toe_3d": boards.tic_tac_toe_3d(),
    "time_pilot": irregular.time_pilot(),
    "trondead": scored("BF BE BD", lambda r: 5 - r(0xC8), "C8=5"),
    "turmoil": scored(
        lambda r: r.decimal(0x89, 0x8A) + r(0xD3), "B9", "B9=0 C5=1", times=10
    ),
    "tutankham": scored("9C 9A", "9E&3", "9E=0 81!=84"),
    "up_n_down": scored("82 81 80", "86&0F+1", "94>40 86&0F=0"),
    "venture": scored("C8 C7", "C6&7+1", "C6=0 CD=FF BF&80!=0", times=100),
    "video_checkers": boards.video_checkers(),
    "video_chess": boards.video_chess(),
    "video_cube": boards.video_cube(),
    "video_pinball": scored(
        "B0 B2 B4", lambda r: 4 + (r(0xA8) & 1) - (r(0x99) & 7), "AF&1!=0"
    ),
    "wizard_of_wor": irregular.wizard_of_wor(),
    "word_zapper": irregular.word_zapper(),
    "yars_revenge": scored("E2 E1 E0", "9E>>4", "9E>>4=0"),
    "zaxxon": scored("E9 E8", "EA&7", "EA&7=0", times=100),
}


def rules(name: str) -> Rules:
    """The rules of a game.

    Raises:
      KeyError: There is none of that name; `atari.rom.properties` says which there are.
    """
    return _RULES[name]
