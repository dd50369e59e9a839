"""Cartridges: nine mapper kinds, what an address reaches, detection by content.

A mapper is data, not code: four 1 KB slices of the image, a run of hotspot addresses
that choose a 4 KB bank, and flags. Games of different kinds then share one program.
The DPC chip, which only one game has, is the exception: it is there when a cartridge
carries a display image.

Sources: K. Horton, "Cart Information" (bank switching of the 2600); US patent 4644495
(the DPC); the numbers of the machine emulated here are those of ALE 0.12.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from atari.bits import Bool, Int, pick

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
"""Bytes of an image of each kind; a DPC image may also end after its display data."""

ROM_SIZE = 16384
RAM_SIZE = 256  # the console's 128 bytes, then a Superchip's

# A physical index below RAM_SIZE is RAM; the image follows it.
_NO_HOTSPOT = 0x4000
SWITCHES = 0xFD0  # offset in 4 KB from which on an access may switch banks
_BANKED = {"F8": (0x1FF8, 2, 1), "F6": (0x1FF6, 4, 0), "DPC": (0x1FF8, 2, 1)}
# 6502 code that only appears in images of the kind; after the MESS project's lists.
_E0_CODE = ("8DE01F", "8DE05F", "8DE9FF", "ADE9FF", "ADEDFF", "ADF3BF")
_FE_CODE = ("2000D0C6C5", "20C3F8A582", "D0FB2073FE", "2000F084D6")


class Cartridge(NamedTuple):
    """An image, its mapper and the television it was made for; see `load`."""

    rom: jax.Array  # uint8[16384]
    display: jax.Array | None  # uint8[2048]; DPC only
    hotspot: Int  # first address that switches 4 KB banks
    banks: Int  # how many addresses do
    start: Int  # bank after reset
    sliced: Int  # E0: 1 KB slices
    by_a13: Int  # FE: the processor's A13 chooses the half
    superchip: Int  # 128 bytes of RAM at 0x1000
    first_line: Int  # of the picture
    lines: Int  # in the picture
    pal: Int  # 312 lines, colour lost on odd counts
    combs: Int  # a late HMOVE blanks eight pixels


NUMBERS = tuple(f for f in Cartridge._fields if f not in ("rom", "display"))
"""Fields of a cartridge that are no images."""


def known(cart: Cartridge) -> tuple[int, ...] | None:
    """The numbers of one cartridge, if they are known while compiling."""
    numbers = [getattr(cart, name) for name in NUMBERS]
    if any(isinstance(n, jax.core.Tracer) or jnp.ndim(n) for n in numbers):
        return None
    return tuple(int(n) for n in numbers)


def fixed(numbers: tuple[int, ...] | None) -> bool:
    """Whether `known` numbers tell that nothing of the mapper ever changes."""
    return _lacks(numbers, "banks", "sliced")


def listed(numbers: tuple[int, ...] | None) -> bool:
    """Whether `known` numbers tell that code stands in the image as it is fetched."""
    return _lacks(numbers, "sliced", "superchip")


def _lacks(numbers: tuple[int, ...] | None, *names: str) -> bool:
    if numbers is None:
        return False
    named = dict(zip(NUMBERS, numbers, strict=True))
    return not any(named[name] for name in names)


class Dpc(NamedTuple):
    """Registers of the DPC chip; `low`, `high`, ... are one entry a data fetcher."""

    top: tuple[Int, ...]
    bottom: tuple[Int, ...]
    counter: tuple[Int, ...]  # 11 bits
    flag: tuple[Int, ...]
    music: tuple[Int, ...]  # of the last three fetchers
    random: Int
    cycles: Int  # when the music was last brought up to date
    fraction: Int  # of a music clock


class Mapper(NamedTuple):
    """What of a cartridge changes: slice offsets in the image, and the DPC."""

    slices: tuple[Int, Int, Int, Int]
    dpc: Dpc | None


def detect(image: bytes) -> str:
    """Kind of an image, from its size and content.

    Raises:
      ValueError: no supported kind has this size.
    """
    size = len(image)
    if size == 2048 or (size == 4096 and image[:2048] == image[2048:]):
        return "2K"
    if size == 4096:
        return "4K"
    # Where a Superchip's RAM lies, the image has nothing to say.
    starts = [image[i : i + 256] for i in range(0, size, 4096)]
    superchip = all(len(set(start)) == 1 for start in starts)
    if size == 8192:
        if superchip:
            return "F8SC"
        if image[:4096] == image[4096:]:
            return "4K"
        if any(bytes.fromhex(code) in image for code in _E0_CODE):
            return "E0"
        return "FE" if any(bytes.fromhex(code) in image for code in _FE_CODE) else "F8"
    if size == 16384:
        return "F6SC" if superchip else "F6"
    if size in (10240, 10495, 10496):
        return "DPC"
    raise ValueError(
        f"no supported cartridge has {size:,} bytes; images have "
        f"{', '.join(f'{n:,}' for n in sorted(set(SIZES.values())))}"
    )


def load(
    image: bytes,
    kind: str | None = None,
    *,
    first_line: int = 34,
    lines: int = 210,
    pal: bool = False,
    hmove_blanks: bool = True,
) -> Cartridge:
    """Puts an image into a cartridge.

    Args:
      image: the ROM's bytes.
      kind: a key of `SIZES`; None detects it, as `detect`.
      first_line: first scan line shown. It matters to the game too: objects collide
        only on lines that are shown.
      lines: scan lines shown.
      pal: a 312-line PAL game.
      hmove_blanks: whether HMOVE blanks eight pixels of its line.

    Raises:
      ValueError: unknown kind, or an image of another size than the kind has.

    Example:
      >>> load(bytes(4096)).rom.shape
      (16384,)
    """
    kind = detect(image) if kind is None else kind
    if kind not in SIZES:
        raise ValueError(f"unknown cartridge kind {kind!r}; known: {', '.join(SIZES)}")
    fits = {SIZES[kind]} | ({10240, 10496} if kind == "DPC" else set())
    fits |= {4096} if kind == "2K" else {8192} if kind == "4K" else set()
    if len(image) not in fits:
        raise ValueError(
            f"a {kind} image has {SIZES[kind]:,} bytes, this one has {len(image):,}"
        )
    data = np.frombuffer(image, np.uint8)
    display = None
    if kind == "2K":
        data = np.tile(data[:2048], 2)
    elif kind == "4K":
        data = data[:4096]
    elif kind == "DPC":
        display = jnp.asarray(data[8192:10240])
        data = data[:8192]
    rom = np.zeros(ROM_SIZE, np.uint8)
    rom[: data.size] = data
    hotspot, banks, start = _BANKED.get(kind.removesuffix("SC"), (_NO_HOTSPOT, 0, 0))
    numbers = (hotspot, banks, start, kind == "E0", kind == "FE", kind.endswith("SC"))
    geometry = (first_line, lines, pal, hmove_blanks)
    scalars = [jnp.asarray(int(value), jnp.int32) for value in numbers + geometry]
    return Cartridge(jnp.asarray(rom), display, *scalars)


def reset(cart: Cartridge, mapper: Mapper | None = None) -> Mapper:
    """Banks as they are after reset; the DPC keeps all but its music clock.

    Without a `mapper`: as they are after power on.
    """
    zero = cart.start * 0
    bank = [cart.start * 4096 + 1024 * k for k in range(4)]
    slices = [jnp.where(cart.sliced != 0, (4 + k) * 1024, bank[k]) for k in range(4)]
    dpc = None
    if cart.display is not None:
        if mapper is None or mapper.dpc is None:
            eight = (zero,) * 8
            dpc = Dpc(eight, eight, eight, eight, (zero,) * 3, zero + 1, zero, zero)
        else:
            dpc = mapper.dpc._replace(cycles=zero, fraction=zero)
    return Mapper((slices[0], slices[1], slices[2], slices[3]), dpc)


def touch(cart: Cartridge, mapper: Mapper, address: Int, where: Bool) -> Mapper:
    """The mapper after an access: hotspots switch banks, the DPC's dice roll."""
    address = address & 0x1FFF
    bank = address - cart.hotspot
    banked = where & (bank >= 0) & (bank < cart.banks)
    slot = (address - 0x1FE0) >> 3
    sliced = where & (cart.sliced != 0)
    slices = []
    for k, offset in enumerate(mapper.slices):
        offset = jnp.where(banked, bank * 4096 + 1024 * k, offset)
        if k < 3:
            offset = jnp.where(sliced & (slot == k), (address & 7) * 1024, offset)
        slices.append(offset)
    dpc = mapper.dpc
    if dpc is not None:
        rolls = (address >= 0x1000) & (address < 0x1080) | (address >= 0x1FC0)
        dpc = _roll(dpc, where & rolls)
    return Mapper((slices[0], slices[1], slices[2], slices[3]), dpc)


def locate(cart: Cartridge, mapper: Mapper, address: Int) -> Int:
    """Physical index that a read of `address` reaches: RAM, or RAM_SIZE + image.

    Registers of the TIA and the RIOT have none; what is returned for them is in range.
    """
    offset = address & 0xFFF
    # Slices follow one another unless each can be chosen.
    slot = pick(offset >> 10, mapper.slices) + (offset & 0x3FF)
    rom = jnp.where(cart.sliced != 0, slot, mapper.slices[0] + offset)
    upper = jnp.where((address & 0x2000) == 0, 4096, 0)
    rom = RAM_SIZE + jnp.where(cart.by_a13 != 0, offset + upper, rom)
    extra = (cart.superchip != 0) & (offset >= 0x80) & (offset < 0x100)
    inside = jnp.where(extra, 128 + (offset & 0x7F), rom)
    return jnp.where((address & 0x1000) != 0, inside, address & 0x7F)


def written(cart: Cartridge, address: Int) -> tuple[Int, Bool]:
    """Index in RAM that a write of `address` reaches, and whether it reaches any."""
    console = (address & 0x1280) == 0x0080
    extra = (cart.superchip != 0) & ((address & 0x1F80) == 0x1000)
    return (address & 0x7F) + jnp.where(extra, 128, 0), console | extra


def _roll(dpc: Dpc, where: Bool) -> Dpc:
    r = dpc.random
    bit = ~((r >> 7) ^ (r >> 5) ^ (r >> 4) ^ (r >> 3)) & 1
    return dpc._replace(random=jnp.where(where, ((r << 1) | bit) & 0xFF, r))


def _set(values: tuple[Int, ...], index: Int, value: Int, where: Bool) -> tuple:
    return tuple(
        jnp.where(where & (index == i), value, old) for i, old in enumerate(values)
    )


def _play(dpc: Dpc, cycles: Int, where: Bool) -> Dpc:
    """Brings the music fetchers, which count down by themselves, up to date."""
    # 15,750 Hz over the CPU's 1,193,191.67 Hz is 1,890 / 143,183.
    clocks = dpc.fraction + 1890 * (cycles - dpc.cycles)
    whole = clocks // 143183
    counter, flag = list(dpc.counter), list(dpc.flag)
    for x in (5, 6, 7):
        playing = where & (dpc.music[x - 5] != 0) & (whole > 0)
        top, bottom = dpc.top[x], dpc.bottom[x]
        low = (counter[x] & 0xFF) - whole % (top + 1)
        low = jnp.where(low < 0, low + top + 1, low)
        low = jnp.where(top == 0, 0, low)
        lit = jnp.where(low <= bottom, 0, jnp.where(low <= top, 0xFF, flag[x]))
        flag[x] = jnp.where(playing, lit, flag[x])
        counter[x] = jnp.where(playing, (counter[x] & 0x700) | low, counter[x])
    return dpc._replace(
        counter=tuple(counter),
        flag=tuple(flag),
        cycles=jnp.where(where, cycles, dpc.cycles),
        fraction=jnp.where(where, clocks - whole * 143183, dpc.fraction),
    )


def read_dpc(
    cart: Cartridge, dpc: Dpc, address: Int, cycles: Int, where: Bool
) -> tuple[Int, Dpc, Bool]:
    """Reads a DPC register: value, the chip after it, whether `address` is one.

    The dice have been rolled by `touch`.
    """
    assert cart.display is not None
    hit = where & ((address & 0x1FC0) == 0x1000)
    index, function = address & 7, (address >> 3) & 7
    counter, top = pick(index, dpc.counter), pick(index, dpc.top)
    low, flag = counter & 0xFF, pick(index, dpc.flag)
    flag = jnp.where(
        low == top, 0xFF, jnp.where(low == pick(index, dpc.bottom), 0, flag)
    )
    dpc = dpc._replace(flag=_set(dpc.flag, index, flag, hit))
    dpc = _play(dpc, cycles, hit & (function == 0) & (index >= 4))
    voices = [dpc.music[k] & (dpc.flag[5 + k] != 0) for k in range(3)]
    # Amplitudes of 4, 5 and 6 for the voices, one less where all of two meet.
    chord = voices[0] | (voices[1] << 1) | (voices[2] << 2)
    sound = pick(chord, (0, 4, 5, 9, 6, 10, 11, 15))
    data = cart.display[2047 - counter].astype(jnp.int32)
    value = jnp.where(index < 4, dpc.random, sound)
    value = jnp.where(function == 1, data, jnp.where(function == 0, value, 0))
    value = jnp.where(function == 2, data & flag, value)
    value = jnp.where(function == 7, flag, value)
    free = pick(index, (0,) * 5 + dpc.music) == 0
    after = (counter - 1) & 0x7FF
    return value, dpc._replace(counter=_set(dpc.counter, index, after, hit & free)), hit


def write_dpc(dpc: Dpc, address: Int, value: Int, where: Bool) -> Dpc:
    """Writes a DPC register, if `address` is one."""
    # The dice roll on every write to the cartridge; `touch` has seen to some.
    rolled = ((address & 0x1FFF) < 0x1080) | ((address & 0x1FFF) >= 0x1FC0)
    dpc = _roll(dpc, where & ((address & 0x1000) != 0) & ~rolled)
    where = where & ((address & 0x1FC0) == 0x1040)
    index, function = address & 7, (address >> 3) & 7
    counter = pick(index, dpc.counter)
    playing = pick(index, (0,) * 5 + dpc.music) != 0
    low = jnp.where(playing, pick(index, dpc.top), value)
    music = index - 5
    counters = _set(
        dpc.counter, index, (counter & 0x700) | low, where & (function == 2)
    )
    counters = _set(
        counters, index, ((value & 7) << 8) | (counter & 0xFF), where & (function == 3)
    )
    on = jnp.where((value & 0x10) != 0, 1, 0)
    return dpc._replace(
        top=_set(dpc.top, index, value, where & (function == 0)),
        flag=_set(dpc.flag, index, value * 0, where & (function == 0)),
        bottom=_set(dpc.bottom, index, value, where & (function == 1)),
        counter=counters,
        music=_set(dpc.music, music, on, where & (function == 3)),
        random=jnp.where(where & (function == 6), 1, dpc.random),
    )
