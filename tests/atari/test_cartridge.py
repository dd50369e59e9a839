"""Mappers on images that name their own bytes; detection on the ROMs of ale-py."""

from collections import Counter

import numpy as np
import pytest
from jax import numpy as jnp

from atari import cartridge, rom
from atari.cartridge import RAM_SIZE, Mapper

ALWAYS = jnp.bool_(True)


def slot(cart: cartridge.Cartridge, mapper: Mapper, address: int) -> tuple[int, Mapper]:
    """Offset in the image that a read reaches, and the mapper after it."""
    mapper = cartridge.touch(cart, mapper, jnp.int32(address), ALWAYS)
    return int(cartridge.locate(cart, mapper, jnp.int32(address))) - RAM_SIZE, mapper


def follow(kind: str, *addresses: int) -> list[int]:
    """Image offsets of some reads in turn, after reset."""
    cart = cartridge.load(bytes(cartridge.SIZES[kind]), kind)
    mapper, offsets = cartridge.reset(cart), []
    for address in addresses:
        offset, mapper = slot(cart, mapper, address)
        offsets.append(offset)
    return offsets


@pytest.mark.parametrize(
    ("kind", "addresses", "offsets"),
    [
        ("4K", (0xF123, 0x1FF8), (0x123, 0xFF8)),
        ("F8", (0xF123, 0xFFF8, 0xF123, 0x1FF9), (0x1123, 0xFF8, 0x123, 0x1FF9)),
        ("F6", (0xF000, 0xFFF9, 0xF000, 0xFFF6), (0, 0x3FF9, 0x3000, 0xFF6)),
        ("E0", (0xF000, 0xF400, 0xF800, 0xFC00), (0x1000, 0x1400, 0x1800, 0x1C00)),
        ("E0", (0xFFE2, 0xF010, 0xFFEB, 0xF410), (0x1FE2, 0x810, 0x1FEB, 0xC10)),
        ("E0", (0xFFF7, 0xF810, 0xFFF8, 0xF810), (0x1FF7, 0x1C10, 0x1FF8, 0x1C10)),
        ("FE", (0xF123, 0xD123), (0x123, 0x1123)),
        ("F8SC", (0xF100, 0xF000), (0x1100, 0x1000)),
    ],
)
def test_banks(kind: str, addresses: tuple[int, ...], offsets: tuple[int, ...]) -> None:
    """Start banks, hotspots on reads, slices, and A13."""
    assert follow(kind, *addresses) == list(offsets)


def test_2k_images_are_mirrored() -> None:
    """The upper half of the address space repeats the lower."""
    image = np.random.default_rng(0).bytes(2048)
    cart = cartridge.load(image, "2K")
    assert bytes(np.asarray(cart.rom[:4096])) == 2 * image


@pytest.mark.parametrize(
    ("address", "superchip", "index"),
    [
        (0x0080, False, 0),
        (0x01FF, False, 127),
        (0x2880, False, 0),
        (0x0280, False, None),
        (0x0000, False, None),
        (0x1005, False, None),
        (0x1005, True, 133),
        (0x1085, True, None),
    ],
)
def test_what_a_write_reaches(address: int, superchip: bool, index: int | None) -> None:
    """RAM and its mirrors, a Superchip's write port, nothing else."""
    cart = cartridge.load(bytes(8192), "F8SC" if superchip else "F8")
    found, reached = cartridge.written(cart, jnp.int32(address))
    assert bool(reached) == (index is not None)
    if index is not None:
        assert int(found) == index


def test_superchip_is_read_above_its_write_port() -> None:
    """Reads of 0x1080 to 0x10FF reach RAM."""
    cart = cartridge.load(bytes(16384), "F6SC")
    where = cartridge.locate(cart, cartridge.reset(cart), jnp.int32(0xF0FF))
    assert int(where) == 255


def test_dpc_random_numbers() -> None:
    """The 8-bit shift register runs through 255 states, never all ones."""
    cart = cartridge.load(bytes(10495), "DPC")
    mapper = cartridge.reset(cart)
    seen = []
    for _ in range(256):
        assert mapper.dpc is not None
        seen.append(int(mapper.dpc.random))
        mapper = cartridge.touch(cart, mapper, jnp.int32(0x1000), ALWAYS)
    assert len(set(seen)) == 255
    assert 0xFF not in seen
    assert seen[255] == seen[0] == 1


def test_dpc_data_fetcher() -> None:
    """A fetcher counts down through the display image, and masks it by its flag."""
    display = np.arange(2048, dtype=np.int64) % 251
    image = bytes(8192) + display.astype(np.uint8).tobytes()
    cart = cartridge.load(image, "DPC")
    dpc = cartridge.reset(cart).dpc
    assert dpc is not None
    # Fetcher 2: top 0x10, bottom 0x0E, counter 0x112.
    for address, value in ((0x1042, 0x10), (0x104A, 0x0E), (0x1052, 0x12), (0x105A, 1)):
        dpc = cartridge.write_dpc(dpc, jnp.int32(address), jnp.int32(value), ALWAYS)
    found, masked = [], []
    for _ in range(3):
        byte, after, hit = cartridge.read_dpc(
            cart, dpc, jnp.int32(0x1012), jnp.int32(0), ALWAYS
        )
        masked.append(int(byte))
        byte, dpc, hit = cartridge.read_dpc(
            cart, dpc, jnp.int32(0x100A), jnp.int32(0), ALWAYS
        )
        assert bool(hit)
        found.append(int(byte))
        assert int(after.counter[2]) == int(dpc.counter[2])
    counters = [0x112, 0x111, 0x110]
    assert found == [int(display[2047 - c]) for c in counters]
    assert masked == [0, 0, found[2]]


def test_detection_agrees_with_ale() -> None:
    """All 108 images of ale-py; ALE itself looks most of them up by checksum."""
    wrong = {}
    for name in rom.names(players=4):
        known, image = rom.properties(name).kind, rom.load(name).image
        if (found := cartridge.detect(image)) != known:
            wrong[name] = (known, found)
    assert wrong == {}


def test_kinds_of_the_bundled_games() -> None:
    """As many of each kind as ale-py has."""
    kinds = Counter(rom.properties(name).kind for name in rom.names(players=4))
    expected = {"4K": 52, "F8": 24, "2K": 20, "F6": 4, "E0": 3, "F6SC": 2}
    assert kinds == expected | {"F8SC": 1, "FE": 1, "DPC": 1}


def test_errors_name_sizes_and_kinds() -> None:
    """A wrong size or kind says what would be right."""
    with pytest.raises(ValueError, match=r"no supported cartridge has 3,000 bytes"):
        cartridge.load(bytes(3000))
    with pytest.raises(ValueError, match=r"F6 image has 16,384 bytes, this one has"):
        cartridge.load(bytes(8192), "F6")
    with pytest.raises(ValueError, match=r"unknown cartridge kind '3F'"):
        cartridge.load(bytes(8192), "3F")
