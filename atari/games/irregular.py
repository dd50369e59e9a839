"""Games whose rules need more than a score, a byte of lives and a test."""

from jax import numpy as jnp

from atari.games.rules import Int, Memory, Rules, Signals, scored, start


def _signals(reward: Int, lives: Int, ended: Int, *memory: Int) -> Signals:
    """Signals that report no lives once the game is over."""
    ended = jnp.asarray(ended, bool)
    return Signals(
        jnp.asarray(reward, jnp.int32),
        jnp.where(ended, 0, lives),
        ended,
        jnp.stack([jnp.asarray(m, jnp.int32) for m in memory]),
    )


def adventure() -> Rules:
    """The chalice in the yellow castle wins; a dragon's belly loses."""

    def update(r: Memory, last: Signals) -> Signals:
        won = r(0xB9) == 0x12
        return Signals(
            jnp.where(won, 1, last.reward),
            jnp.int32(1),
            won | (r(0xE0) == 2),
            last.memory,
        )

    return Rules(start(lives=1), update)


def alien() -> Rules:
    """Score digits are offsets of eight-line glyphs; lives stay as they are."""

    def digit(byte: Int) -> Int:
        return jnp.where(byte == 0x80, 0, byte >> 3)

    def update(r: Memory, last: Signals) -> Signals:
        places = (0x8B, 0x89, 0x87, 0x85, 0x83)
        score = sum(10 ** (i + 1) * digit(r(a)) for i, a in enumerate(places))
        lives = r(0xC0) & 15
        return Signals(score - last.memory[0], lives, lives == 0, score[None])

    return Rules(start(0, lives=3), update)


def battle_zone() -> Rules:
    """Three digits of thousands, blanks as tens."""

    def digit(value: Int) -> Int:
        return jnp.where(value == 10, 0, value)

    def score(r: Memory) -> Int:
        low, high = r(0x9D), r(0x9E)
        return digit(low >> 4) + 10 * digit(high & 15) + 100 * digit(high >> 4)

    return scored(score, "BA&0F", "BA&0F=0", times=1000)


def beam_rider() -> Rules:
    """One life less counts only once the death is shown."""

    def update(r: Memory, last: Signals) -> Signals:
        score, before = r.decimal(0x89, 0x8A, 0x8B), last.memory[1]
        lives = r(0x85) + 1
        dying = (lives == before - 1) & (r(0x8C) != 1)
        lives = jnp.where(dying, before, lives)
        over = r(0x85) == 0xFF
        return _signals(score - last.memory[0], lives, over, score, lives)

    return Rules(start(0, 3, lives=3), update)


def blackjack() -> Rules:
    """Ends broke or with 1000 chips."""

    def bust(r: Memory) -> Int:
        return (r(0x86) == 0x0B) & (r(0x89) == 0xBB)

    def score(r: Memory) -> Int:
        return jnp.where(bust(r), 0, r.decimal(0x89, 0x86))

    return scored(score, 1, lambda r: bust(r) | (score(r) >= 1000))


def breakout() -> Rules:
    """No lives left ends the game once five were seen."""

    def update(r: Memory, last: Signals) -> Signals:
        score = r.decimal(0xCD) + 100 * (r(0xCC) & 15)
        lives = r(0xB9)
        started = last.memory[1] | (lives == 5)
        over = (started != 0) & (lives == 0)
        return _signals(score - last.memory[0], lives, over, score, started)

    return Rules(start(0, 0, lives=5), update)


def casino() -> Rules:
    """Poker solitaire ends when all is counted; the other games bet once."""

    def update(r: Memory, last: Signals) -> Signals:
        score = r.decimal(0x95, 0x8C)
        solitaire = r(0xD4) == 3
        closed = r(0xD3) & 0x80 != 0
        change = score - last.memory[0]
        reward = jnp.where(solitaire | ~closed, change, last.reward)
        counted = (score > 0) & (r(0x9E) == 0xAA)
        done = (score == 0) | ((r(0x9E) != 0) & closed)
        return _signals(
            reward, jnp.int32(1), jnp.where(solitaire, counted, done), score
        )

    return Rules(start(0, lives=1), update)


def chopper_command() -> Rules:
    """No lives left ends the game once it has begun; lives are never hidden."""

    def update(r: Memory, last: Signals) -> Signals:
        score = 100 * r.decimal(0xEE, 0xEC)
        lives, started = r(0xE4) & 15, last.memory[1] | (r(0xC2) & 1)
        return Signals(
            score - last.memory[0],
            lives,
            (started != 0) & (lives == 0),
            jnp.stack([score, started]),
        )

    return Rules(start(0, 0, lives=3), update)


def darkchambers() -> Rules:
    """Health 0, a level lower than before or a score lower than before ends it."""

    def update(r: Memory, last: Signals) -> Signals:
        score_before, level_before = last.memory
        level, score = r(0xD5), 10 * r.decimal(0xCC, 0xCF)
        fallen = level < level_before
        lost = ~fallen & (score < score_before)
        gain = ~fallen & ~lost
        over = last.terminal | fallen | lost | (~fallen & (r(0xCA) & 0x1F == 0))
        return _signals(
            jnp.where(gain, score - score_before, 0),
            jnp.int32(1),
            over,
            jnp.where(gain, score, score_before),
            jnp.where(fallen, level_before, level),
        )

    return Rules(start(0, 0, lives=1), update)


def demon_attack() -> Rules:
    """The title shows glyphs in the place of the score."""

    def score(r: Memory) -> Int:
        title = (r(0x81) == 0xAB) & (r(0x83) == 0xCD) & (r(0x85) == 0xEA)
        return jnp.where(title, 0, r.decimal(0x85, 0x83, 0x81))

    return scored(score, "F2+1", "F2=0 F1=BD")


def enduro() -> Rules:
    """Cars passed: a day's goal is 200 cars at first, then 300; the display counts
    down."""

    def score(r: Memory) -> Int:
        day, left = r(0xAD), r.decimal(0xAB, 0xAC)
        first = 200 - left
        later = 200 + 300 * (day - 2) + 300 - left
        return jnp.where(day == 0, 0, jnp.where(day == 1, first, later))

    return scored(score, 0, "AF=FF")


def et_lives(r: Memory) -> Int:
    """A signed byte, plus one."""
    return ((r(0xE5) + 1 + 128) & 0xFF) - 128


def gopher_lives(r: Memory) -> Int:
    """Carrots left, a bit each."""
    carrots = r(0xB4) & 7
    return (carrots & 1) + (carrots >> 1 & 1) + (carrots >> 2)


def gravitar_lives(r: Memory) -> Int:
    """Six on the title screen."""
    return jnp.where(r(0x81) == 0, 6, r(0x84) + 1)


def haunted_house() -> Rules:
    """Each match lit costs a point; the urn brought out earns a hundred."""

    def update(r: Memory, last: Signals) -> Signals:
        matches, lives = r.decimal(0x82), r(0x96)
        escaped = r(0x99) == 0x44
        reward = jnp.where(escaped, 100, 0) - (matches != last.memory[0])
        return _signals(reward, lives, (lives == 0) | escaped, matches)

    return Rules(start(0, lives=9), update)


def miniature_golf() -> Rules:
    """Par minus hits, paid when the hole changes; back at hole 0 it is over."""

    def update(r: Memory, last: Signals) -> Signals:
        hole_before, par, hits, left_before, at_start = last.memory
        left, right, hole = r.decimal(0x87), r.decimal(0x88), r.decimal(0xAF)
        changed = hole != hole_before
        taken = left_before + hits - at_start
        reward = jnp.where(changed & (taken > 0), par - taken, 0)
        over = last.terminal | (changed & (hole == 0))
        hits = jnp.where(changed, 0, hits)
        at_start = jnp.where(changed, left_before, at_start)
        # The display shows par on the right between holes, otherwise the hits.
        showing_par = right != 0
        hits += jnp.where(~showing_par & (left < left_before), left_before, 0)
        return _signals(
            reward,
            jnp.int32(1),
            over,
            hole,
            jnp.where(showing_par, right, par),
            hits,
            jnp.where(showing_par, left_before, left),
            at_start,
        )

    return Rules(start(0, 0, 0, 0, 0, lives=1), update)


def pitfall_lives(r: Memory) -> Int:
    """Two marks beside the running life."""
    marks = r(0x80) >> 4
    return jnp.where(marks == 0xA, 3, jnp.where(marks == 0x8, 2, 1))


def qbert() -> Rules:
    """Lives are counted down from 4 as a signed byte falls from 2."""

    def update(r: Memory, last: Signals) -> Signals:
        score_before, lives, byte_before = last.memory
        raw = r(0x88)
        byte = ((raw + 128) & 0xFF) - 128
        over = (raw == 0xFE) | ((raw == 2) & (byte_before == -1))
        lives -= byte_before - 1 == byte
        score = jnp.where(over, score_before, r.decimal(0xDB, 0xDA, 0xD9))
        return _signals(score - score_before, lives, over, score, lives, byte)

    return Rules(start(0, 4, 2, lives=4), update)


def riverraid() -> Rules:
    """Score digits are offsets of eight-line glyphs; so are the lives."""

    def digit(byte: Int) -> Int:
        return jnp.where((byte % 8 == 0) & (byte <= 72), byte // 8, 0)

    def update(r: Memory, last: Signals) -> Signals:
        places = (0xD7, 0xD5, 0xD3, 0xD1, 0xCF, 0xCD)
        score = sum(10**i * digit(r(a)) for i, a in enumerate(places))
        byte = r(0xC0)
        over = (byte == 0x58) & (last.memory[1] == 0x59)
        lives = jnp.where(byte == 0x59, 1, byte // 8 + 1)
        lives = jnp.where(byte == 0x58, 4, lives)
        return _signals(score - last.memory[0], lives, over, score, byte)

    return Rules(start(0, 0x58, lives=4), update)


def star_gunner() -> Rules:
    """Five lives until the game has begun."""

    def update(r: Memory, last: Signals) -> Signals:
        digits = [r(address) & 15 for address in range(0x83, 0x87)]
        score = sum(
            10 ** (i + 2) * jnp.where(d == 10, 0, d) for i, d in enumerate(digits)
        )
        byte = r(0x87)
        started = last.memory[1] | (byte == 5)
        lives = jnp.where(started != 0, byte & 15, 5)
        return _signals(score - last.memory[0], lives, byte == 0, score, started)

    return Rules(start(0, 0, lives=5), update)


def superman() -> Rules:
    """Seconds left of the clock's 99:59 when Clark Kent is back at his desk."""

    def update(r: Memory, last: Signals) -> Signals:
        seconds = 60 * r.decimal(0xE3) + r.decimal(0xE2)
        at_desk = (r(0x80) == 0xAC) & (r(0x81) == 0xF2)
        over = at_desk & (r(0x9F) & 0x40 != 0)
        reward = jnp.where(over, 99 * 60 + 59 - seconds, 0)
        return _signals(reward, jnp.int32(1), over, seconds)

    return Rules(start(0, lives=1), update)


def tetris() -> Rules:
    """Rows; the score is forgotten at the end."""

    def update(r: Memory, last: Signals) -> Signals:
        score, over = r.decimal(0xF1, 0xF2), r(0xF3) & 0x80 != 0
        reward = jnp.maximum(score - last.memory[0], 0)
        return _signals(reward, jnp.int32(0), over, jnp.where(over, 0, score))

    return Rules(start(0), update)


def time_pilot() -> Rules:
    """Lives are right only on the playing screen."""

    def update(r: Memory, last: Signals) -> Signals:
        score = 100 * r.decimal(0x8D, 0x8F)
        playing = r(0x80) & 15 == 2
        lives = jnp.where(playing, (r(0x8B) & 7) + 1, last.memory[1])
        return _signals(score - last.memory[0], lives, r(0xA0) != 0, score, lives)

    return Rules(start(0, 5, lives=5), update)


def wizard_of_wor() -> Rules:
    """Lives are right only while waiting; the score's top bit is no part of it."""

    def update(r: Memory, last: Signals) -> Signals:
        score = r.decimal(0x86, 0x88)
        score = 100 * jnp.where(score >= 8000, score - 8000, score)
        left = r(0x8D) & 15
        lives = jnp.where(r(0xD7) & 1 == 0, left, last.memory[1])
        over = (left == 0) & (r(0xF4) == 0xF8)
        return _signals(score - last.memory[0], lives, over, score, lives)

    return Rules(start(0, 3, lives=3), update)


def word_zapper() -> Rules:
    """Words done of three, counted down in a signed byte, while the clock runs."""

    def update(r: Memory, last: Signals) -> Signals:
        running = r.decimal(0xCF) > 0
        score = 2 - (((r(0xDC) + 128) & 0xFF) - 128)
        over = (score == 3) | (r.decimal(0xDE) == 0)
        return _signals(
            jnp.where(running, score - last.memory[0], last.reward),
            jnp.int32(1),
            jnp.where(running, over, last.terminal),
            jnp.where(running, score, last.memory[0]),
        )

    return Rules(start(0, lives=1), update)
