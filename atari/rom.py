"""Known ROM images: checksum, cartridge kind, screen geometry, controllers.

The images themselves are not part of this package. `load("pong")` takes them from an
installed `ale-py`, `load("/folder/pong.bin")` from a file. An image that is not in the
table still loads, as a bare console with defaults, so that homebrew runs too.
"""

import dataclasses
import difflib
import functools
import hashlib
import importlib.util
from pathlib import Path

SIZES = {
    "2K": 2048,
    "4K": 4096,
    "F8": 8192,
    "F8SC": 8192,
    "FE": 8192,
    "E0": 8192,
    "F6": 16384,
    "F6SC": 16384,
    "DPC": 10495,
}
"""Bytes of an image of each supported cartridge kind."""


@dataclasses.dataclass(frozen=True)
class Properties:
    """What the machine has to know about one ROM.

    Attributes:
      name: Snake-case name, `"ms_pacman"`.
      md5: Checksum of the image, 32 hexadecimal digits.
      kind: Cartridge kind, a key of `SIZES`; None leaves it to detection by content.
      y_start: First displayed scan line.
      height: Displayed scan lines: the screen is `uint8[height, 160]`.
      pal: PAL television (312 lines, its palette, colour loss), otherwise NTSC.
      hmove_blanks: Whether a late HMOVE blanks the first 8 pixels of its line.
      paddles: Ports with paddles instead of a joystick: 0 none, 1 the left, 2 both.
      swap_paddles: The two paddles of a port are exchanged.
      swap_ports: The left and right controller ports are exchanged.
      history: What a reset leads to depends on what was in memory before. The other
        known games start in the same way every time, up to the timer's value.
      players: Least number of players.
    """

    name: str
    md5: str = ""
    kind: str | None = None
    y_start: int = 34
    height: int = 210
    pal: bool = False
    hmove_blanks: bool = True
    paddles: int = 0
    swap_paddles: bool = False
    swap_ports: bool = False
    history: bool = False
    players: int = 1


@dataclasses.dataclass(frozen=True)
class Rom:
    """An image and its properties."""

    properties: Properties
    image: bytes = dataclasses.field(repr=False)


# name, md5, kind, then only what differs from the defaults: pal, paddles, y26 (first
# line), h214 (height), ... A PAL picture of unstated height has 250 lines.
_TABLE = """
adventure 4b27f5397c442d25f0c418ccdacf1926 4K pal
air_raid 35be55426c1fec32dfb503b4f0651572 4K pal
alien f1a0a23e6464d954e3a9579c4ccd01c8 4K
amidar acb7750b4d0c4bd34969802a7deb2990 4K
assault de78b3a064d374390ac0710f95edde92 4K
asterix 89a68746eff7f266bbf08de2483abe55 F8
asteroids ccbd36746ed4525821a8083b0d6d2c2c F8 noblank
atlantis 9ad36e699ef6f45d9eb6c4cf90475c9f 4K
atlantis2 826481f6fc53ea47c9f272f7050eedf7 4K
backgammon 8556b42aa05f94bc29ff39c39b11bff4 4K paddles
bank_heist 00ce0bdd43aed84a983bef38fe7f5ee3 4K
basic_math 819aeeb9a2e11deb54e6de334f843894 2K
battle_zone 41f252a66c6301f1e8ab3612c19bc5d4 F8 noblank
beam_rider 79ab4123a83dc11d468fb2108ea09e2e F8
berzerk 136f75c4dd02c29283752b7e5799f978 4K
blackjack 0a981c03204ac2b278ba392674682560 2K paddles
bowling c9b7afad3bfd922e006a6bfc1d4f3fe7 2K
boxing c3ef5c4653212088eda54dc91d787870 2K
breakout f34f08e5eb96e500e851a80be3277a56 2K paddles
carnival 028024fb8e5e5f18ea586652f9799c96 4K y26 h214
casino b816296311019ab69a21cb9e9e235d12 4K paddles
centipede 91c2098e88a6b13f977af8c003e0bca5 F8
chopper_command c1cb228470a87beb5f36e90ac745da26 4K
combat 0ef64cdbecccb7049752a3de0b7ade14 2K pal y39 h256 players2
crazy_climber 55ef7b65066428367844342ed59f956c F8
crossbow 8cd26dcf249456fe4aeb8db42d49df74 F6 history
darkchambers 106855474c69d08c8ffa308d47337269 F6SC noblank
defender 0f643c34e40e3f1daafd9c524d3ffe64 4K
demon_attack f0e0addc07971561ab80d9abe1b8d333 4K
donkey_kong 36b20c427975760cb9cf4a47e41369e4 4K
double_dunk 368d88a6c071caba60b4f778615aae94 F6
earthworld 5aea9974b975a6a844e6df10d2b861c4 F8
elevator_action 71f8bacfbdca019113f3f0801849057e F8SC
enduro 94b92a882f6dbaa6993a46e2dcc58402 4K
entombed 6b683be69f92958abe0e2a9945157ad5 4K
et 615a3bf251a38eb6638cdc7ffbde5480 F8
fishing_derby b8865f05676e64f3bec72b9defdacfa7 2K
flag_capture 30512e0e83903fc05541d2f6a6a62654 2K
freeway 8e0ab801b1705a740b476b7f588c6d16 2K
frogger 081e2c114c9c20b61acf25fc95c71bf4 4K
frostbite 4ca73eb959299471788f0b685c3ba0b5 4K
galaxian 211774f4c5739042618be8ff67351177 F8
gopher c16c79aad6272baffb8aae9a7fff0864 4K
gravitar 8ac18076d01a6b63acf6e2cab4968940 F8
hangman f16c709df0a6c52f47ff52b9d95b7d8d 4K history
haunted_house f0a6e99f5875891246c3dbecbf2d2cea 4K history
hero fca4a5be1251927027f2c24774a02160 F8
human_cannonball 7972e5101fa548b952d852db24ad6060 2K
ice_hockey a4c08c4994eb9d24fb78be1793e82e26 4K history
jamesbond e51030251e440cffaab1ac63438b44ae E0
journey_escape 718ae62c70af4e5fd8e932fee216948a 4K h230
joust 3276c777cbe97cdd2b4a63ffc16b7151 F8 players2
kaboom 5428cdfada281c569c74c7308c7f2c26 2K paddles
kangaroo 4326edb70ff20d0ee5ba58fa5cb09d60 F8
keystone_kapers 6c1f3f2e359dbf55df462ccbcdd2f6bf 4K pal
king_kong 0dd4c69b5f9a7ae96a7a08329496779a 4K pal
klax eed9eaf1a0b6a2b9bc4c8032cb43e3fb F6SC pal
koolaid 534e23210dd1993c828d944c6ac4d9fb 4K
krull 4baada22435320d185c95b7dd2bcdb24 F8
kung_fu_master 5b92a93b23523ff16e2789b820e2a4c5 F8 history
laser_gates 8e4cd60d93fcde8065c1a2b972a26377 4K pal
lost_luggage 2d76c5d1aad506442b9e9fb67765e051 4K
mario_bros e908611d99890733be31733a979c62d8 F8
maze_craze ed2218b3075d15eaa34e3356025ccca3 4K pal players2
miniature_golf df62a658496ac98a3aa4a6ee5719c251 2K
montezuma_revenge 3347a6dd59049b15a38394aa2dafa585 E0
mr_do aa7bb54d2c189a31bb1fa20099e42859 F8 pal
ms_pacman 87e79cd41ce136fd4f72cc6e2c161bee F8 noblank
name_this_game 36306070f0c90a72461551a7a4f3a209 4K
othello 113cd09c9771ac278544b7e90efe7df2 2K
pacman fc2233fc116faef0d3c31541717ca2db 4K pal
phoenix 7e52a95074a66640fcfde124fffd491a F8
pitfall 3e90cf23106f2e08b2781e41299de556 4K
pitfall2 6d842c96d5a01967be9680080dd5be54 DPC
pong 60e0ea3cbe0913d39803477945e9e5ec 2K bothpaddles swappaddles
pooyan 4799a40b6e889370b7ee55c17ba65141 4K y26 h220 history
private_eye ef3a4f64b6494ba770862768caf04b86 F8
qbert 484b0076816a104875e00467d431c2d2 4K y40
riverraid 393948436d1f4cc3192410bb918f9724 4K
road_runner ce5cc62608be2cd3ed8abd844efb8919 F6
robotank 4f618c2429138e0280969193ed6c107e FE
seaquest 240bfbac5163af4df5ae713985386f92 4K
sir_lancelot dd0cbe5351551a538414fb9e37fc56e8 F8 pal history
skiing b76fbadc8ffb1f83e2ca08b6fb4d6c9f 2K
solaris e72eb8d4410152bdcb69e7fba327b420 F6
space_invaders 72ffbef6504b75e69ee1045af9075f66 4K
space_war b702641d698c60bcdc922dbd8c9dd49c 2K pal history
star_gunner a3c1c70024d7aabb41381adbfb6d3b25 4K
superman a9531c763077464307086ec9a1fd057d 4K
surround 4d7517ae69f95cfbc053be01312b7dba 2K swapports history
tennis 42cdd6a9e42a3639e190722b8ea3fc51 2K
tetris b0e1ee07fbc73493eac5651a52f90f00 2K
tic_tac_toe_3d 0db4f4150fecf77e4ce72ca4d04c052f 2K
time_pilot fc2104dd2dadf9a6176c1c1c8f87ced9 F8 history
trondead fb27afe896e7c928089307b32e5642ee 4K
turmoil 7a5463545dfb2dcfdafa6074b2f2c15e 4K
tutankham 085322bae40d904f53bdcc56df0593fc E0
up_n_down a499d720e7ee35c62424de882a3351b6 F8 y30
venture 3e899eba0ca8cd2972da1ae5479b4f0d 4K
video_checkers 539d26b6e9df0da8e7465f0f5ad863b7 4K
video_chess f0b7db930ca0e548c41a97160b9f6275 4K
video_cube 3f540a30fdee0b20aed7288e4a5ea528 4K
video_pinball 107cc025334211e6d29da0b6be46aec7 4K
warlords cbe5a166550a8129a5e6d374901dffad 4K bothpaddles players2
wizard_of_wor 7e8aa18bc9502eb57daaf5e7c1e94da7 4K swapports
word_zapper ec3beb6d8b5689e867bafb5d5f507491 4K
yars_revenge c5930d0e8cdae3e037349bfa08e871be 4K history
zaxxon eea0da9b987d661264cce69a7c13c3bd F8
"""

_WORDS: dict[str, dict[str, bool | int]] = {
    "pal": {"pal": True, "height": 250},
    "noblank": {"hmove_blanks": False},
    "paddles": {"paddles": 1},
    "bothpaddles": {"paddles": 2},
    "swappaddles": {"swap_paddles": True},
    "swapports": {"swap_ports": True},
    "history": {"history": True},
    "players2": {"players": 2},
}


@functools.cache
def _known() -> dict[str, Properties]:
    known = {}
    for line in _TABLE.split("\n")[1:-1]:
        name, md5, kind, *words = line.split()
        fields: dict[str, bool | int] = {}
        for word in words:
            letter, number = word[0], word[1:]
            if number.isdigit():
                fields[{"y": "y_start", "h": "height"}[letter]] = int(number)
            else:
                fields |= _WORDS[word]
        known[name] = Properties(name, md5, kind, **fields)  # type: ignore[arg-type]
    return known


def names(players: int = 1) -> list[str]:
    """Names of the known ROMs that this number of players can play, sorted."""
    return [name for name, rom in _known().items() if rom.players <= players]


def properties(name: str) -> Properties:
    """Looks a ROM up by name.

    Raises:
      ValueError: Unknown name; the message lists the nearest ones.
    """
    try:
        return _known()[name]
    except KeyError:
        raise ValueError(unknown(name, list(_known()))) from None


def unknown(name: str, known: list[str]) -> str:
    """The message for a name that is not among the known ones."""
    plain = name.lower().replace("-", "_").removeprefix("ale/").split("noframeskip")[0]
    near = difflib.get_close_matches(plain, known, n=3, cutoff=0.6)
    squeezed = plain.replace("_", "")
    near = [n for n in known if n.replace("_", "") == squeezed] or near
    hint = f"did you mean {' or '.join(near)}?" if near else "see atari.rom.names()"
    return f"unknown game {name!r}; {hint}"


def identify(image: bytes, name: str = "homebrew") -> Properties:
    """Properties of an image by its checksum, or defaults under the given name.

    Raises:
      ValueError: No supported cartridge has an image of this size.
    """
    md5 = hashlib.md5(image, usedforsecurity=False).hexdigest()
    for known in _known().values():
        if known.md5 == md5:
            return known
    if len(image) not in SIZES.values():
        sizes = ", ".join(f"{size} ({kind})" for kind, size in SIZES.items())
        raise ValueError(
            f"a ROM image of {len(image)} bytes fits no supported cartridge; "
            f"sizes and kinds: {sizes}"
        )
    return Properties(name, md5)


def load(game: str | Path) -> Rom:
    """Loads a ROM by game name, from ale-py, or by path.

    A file of unknown content gets default properties under its own name; should that be
    the name of a known game, the environment uses that game's rules, as ALE does.

    Raises:
      ValueError: Unknown name, or an image of an unsupported size.
      FileNotFoundError: The path does not exist.
      ModuleNotFoundError: A name was given and `ale-py` is not installed.

    Example:
      >>> load("pong").properties.paddles
      2
    """
    path = Path(game)
    if isinstance(game, Path) or path.suffix in (".bin", ".a26") or path.is_file():
        image = path.read_bytes()
        return Rom(identify(image, path.stem), image)
    found = properties(game)
    return Rom(found, (_folder() / f"{game}.bin").read_bytes())


def _folder() -> Path:
    """Where ale-py keeps its ROM images; found without importing its library."""
    spec = importlib.util.find_spec("ale_py")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the ROM images come with ale-py, which is not installed: "
            "pip install ale-py, or give the path of a ROM file"
        )
    return Path(spec.submodule_search_locations[0]) / "roms"
