"""Games whose rules look at a whole board."""

from jax import numpy as jnp

from atari.games.rules import Memory, Rules, Signals, decimal, start


def backgammon() -> Rules:
    """Fifteen pieces out wins. The player's pieces count negative, the computer's
    positive; positions with other than fifteen pieces are animations."""

    def update(r: Memory, last: Signals) -> Signals:
        signed = ((r.between(0x80, 0x9B) + 128) & 0xFF) - 128
        mine_out, theirs_out = -signed[0x00], signed[0x0E]
        points = signed.at[jnp.array([0x00, 0x0E])].set(0)
        mine = jnp.maximum(-points, 0).sum() + mine_out
        theirs = jnp.maximum(points, 0).sum() + theirs_out
        whole = (mine == 15) & (theirs == 15)
        won, lost = whole & (mine_out == 15), whole & (theirs_out == 15)
        reward = jnp.where(won, 1, jnp.where(lost, -1, last.reward))
        over = last.terminal | won | lost
        return Signals(reward, jnp.where(over, 0, 1), over, last.memory)

    return Rules(start(lives=1), update)


def klax() -> Rules:
    """Too many misses, a full bin or level 99 ends it. Score, misses and level are in
    the cartridge's RAM."""

    def update(r: Memory, last: Signals) -> Signals:
        score = decimal(*(r.cartridge(index) for index in (0x34, 0x35, 0x36)))
        misses, allowed = r.cartridge(0x6E), r.cartridge(0x69)
        bin_ = r.between(0xB3, 0xCB)
        free = (bin_ == 0) | (bin_ & 3 == 2) & (bin_ <= 14)
        full = (r(0xA8) == 4) & ~free.any()
        over = (
            ((allowed > 0) & (misses == allowed)) | full | (r.cartridge(0x1D) == 0x99)
        )
        return Signals(score - last.memory[0], jnp.where(over, 0, 1), over, score[None])

    return Rules(start(0, lives=1), update)


def othello() -> Rules:
    """White minus black; over after 50 frames in which nobody can move."""

    def update(r: Memory, last: Signals) -> Signals:
        score = r.decimal(0xCE) - r.decimal(0xD0)
        idle = jnp.where(r(0xC0) == 0, last.memory[1] + 1, 0)
        over = idle > 50
        return Signals(
            score - last.memory[0],
            jnp.where(over, 0, 1),
            over,
            jnp.stack([score, idle]),
        )

    return Rules(start(0, 0, lives=1), update)


def tic_tac_toe_3d() -> Rules:
    """Four in a row, or no free cell of the 64."""

    def update(r: Memory, last: Signals) -> Signals:
        finished = (r(0xFF) == 0xF3) & (r(0xFE) == 0x10)
        winner = jnp.where(r(0xE1) == 8, 1, -1)
        full = (r.between(0x9A, 0xD9) != 0).all()
        over = last.terminal | finished | full
        return Signals(
            jnp.where(finished, winner, 0), jnp.where(over, 0, 1), over, last.memory
        )

    return Rules(start(lives=1), update)


def video_checkers() -> Rules:
    """No pieces left loses; from mode 11 on it wins."""

    def first(mode: int) -> Signals:
        return start(-1 if mode >= 11 else 1, lives=1)(mode)

    def update(r: Memory, last: Signals) -> Signals:
        # Four rows of eight squares, a byte apart.
        square = r.between(0x80, 0xA2).at[jnp.array([0x08, 0x11, 0x1A])].set(0)
        black = ((square == 0x10) | (square == 0x20)).any()
        white = ((square == 0x90) | (square == 0xA0)).any()
        value = jnp.where(black, 1, -1) * last.memory[0]
        ended = ~black | ~white
        over = last.terminal | ended
        return Signals(
            jnp.where(ended, value, last.reward),
            jnp.where(over, 0, 1),
            over,
            last.memory,
        )

    return Rules(first, update)


def video_chess() -> Rules:
    """Mate, seen on the player's turn."""

    def update(r: Memory, last: Signals) -> Signals:
        mate = jnp.where(r(0xE1) == 0x82, r(0xEE), 2)
        won, lost = mate == 0, mate == 1
        over = last.terminal | won | lost
        reward = won.astype(jnp.int32) - lost
        return Signals(reward, jnp.where(over, 0, 1), over, last.memory)

    return Rules(start(lives=1), update)


def video_cube() -> Rules:
    """Faces of one colour; all six, or the timer's turn past zero, end it."""

    def update(r: Memory, last: Signals) -> Signals:
        faces = r.between(0xA0, 0xD5).reshape(6, 9)
        done = (faces == faces[:, :1]).all(axis=1).sum(dtype=jnp.int32)
        timer = r(0xDB)
        late = (timer == 0) & (last.memory[1] == 255)
        over = late | (done == 6)
        return Signals(
            jnp.where(late, -1, done - last.memory[0]),
            jnp.where(over, 0, 1),
            over,
            jnp.stack([done, timer]),
        )

    return Rules(start(0, -1, lives=1), update)
