"""Games between two sides: the score is a difference."""

from jax import numpy as jnp

from atari.games.rules import Int, Memory, Rules, Signals, scored, start


def boxing() -> Rules:
    """Ends with a knock-out, shown as C0, or with the clock."""

    def points(byte: Int, decimal: Int) -> Int:
        return jnp.where(byte == 0xC0, 100, decimal)

    def mine(r: Memory) -> Int:
        return points(r(0x92), r.decimal(0x92))

    def theirs(r: Memory) -> Int:
        return points(r(0x93), r.decimal(0x93))

    def over(r: Memory) -> Int:
        clock = (r(0x90) >> 4 == 0) & (r.decimal(0x91) == 0)
        return (mine(r) == 100) | (theirs(r) == 100) | clock

    return scored(lambda r: mine(r) - theirs(r), 0, over)


def double_dunk() -> Rules:
    """First to 24 points, at the buzzer."""

    def over(r: Memory) -> Int:
        most = jnp.maximum(r.decimal(0xF6), r.decimal(0xF7))
        return (most >= 24) & (r(0xFE) == 0xE7)

    return scored(lambda r: r.decimal(0xF6) - r.decimal(0xF7), 0, over)


def fishing_derby() -> Rules:
    """First to 99 pounds."""
    return scored(lambda r: r.decimal(0xBD) - r.decimal(0xBE), 0, "BD=99|BE=99")


def hangman() -> Rules:
    """A point to either side ends the game; so does the timer's turn past zero."""

    def update(r: Memory, last: Signals) -> Signals:
        score, timer = r.decimal(0xEB) - r.decimal(0xEC), r(0xF1)
        reward = score - last.memory[0]
        over = (reward != 0) | ((timer == 0) & (last.memory[1] == 255))
        return Signals(reward, jnp.where(over, 0, 1), over, jnp.stack([score, timer]))

    return Rules(start(0, -1, lives=1), update)


def ice_hockey() -> Rules:
    """Goals for and against, until the clock is down."""
    return scored(
        lambda r: r.decimal(0x8A) - r.decimal(0x8B),
        0,
        "87=0 86=0",
        reward=lambda change: jnp.minimum(change, 1),
    )


def pong() -> Rules:
    """First to 21."""
    return scored(lambda r: r(0x8E) - r(0x8D), 0, "8D=15|8E=15")


def surround() -> Rules:
    """First to 10."""

    def over(r: Memory) -> Int:
        return (r.decimal(0xF6) == 10) | (r.decimal(0xF7) == 10)

    return scored(lambda r: r.decimal(0xF7) - r.decimal(0xF6), 1, over)


def tennis() -> Rules:
    """Change of games won or, when that is none, of the points of this game."""

    def update(r: Memory, last: Signals) -> Signals:
        points = r(0xC5) - r(0xC6)
        mine, theirs = r(0xC7), r(0xC8)
        games = mine - theirs
        change = games - last.memory[0]
        reward = jnp.where(change != 0, change, points - last.memory[1])
        over = (
            ((mine >= 6) & (games >= 2))
            | ((theirs >= 6) & (games <= -2))
            | (mine == 7)
            | (theirs == 7)
        )
        return Signals(reward, jnp.int32(0), over, jnp.stack([games, points]))

    return Rules(start(0, 0), update)
