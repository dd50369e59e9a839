"""The scheme in plain NumPy integers, one ciphertext at a time, for bit equality.

Python loops over the definitions; nothing is shared with the package.
"""

import numpy as np

Q = 2**32


def digits(value, levels, log_base):
    """Balanced digits of one integer, most significant first, by carrying."""
    scale = 2 ** (32 - levels * log_base)
    value = (int(value) + scale // 2) // scale % 2 ** (levels * log_base)
    base, found = 2**log_base, []
    for _ in range(levels):
        digit = value % base
        value //= base
        if digit >= base // 2:
            digit -= base
            value += 1
        found.append(digit)
    return found[::-1]


def negacyclic(a, b):
    """Product modulo X**N + 1 over the integers."""
    N = len(a)
    full = np.zeros(2 * N, object)
    for i, x in enumerate(a):
        full[i : i + N] += int(x) * np.array([int(y) for y in b], object)
    return full[:N] - full[N:]


def rotate(polynomial, amount):
    """X**amount times a polynomial."""
    monomial = np.zeros(len(polynomial), object)
    amount %= 2 * len(polynomial)
    monomial[amount % len(polynomial)] = 1 if amount < len(polynomial) else -1
    return negacyclic(monomial, polynomial)


def external_product(ggsw, glwe, mask, body):
    """Rows of a GGSW ciphertext times the digits of a GLWE ciphertext."""
    k = len(glwe) - 1
    rows = []
    for p, polynomial in enumerate(glwe):
        levels, log_base = body if p == k else mask
        table = [digits(int(c) % Q, levels, log_base) for c in polynomial]
        rows += [[d[j] for d in table] for j in range(levels)]
    return np.array(
        [
            sum(negacyclic(row, ggsw[r, c]) for r, row in enumerate(rows)) % Q
            for c in range(k + 1)
        ]
    )


def switch_modulus(ciphertext, log_modulus):
    """Rounds to 2**log_modulus parts, adding half the mask's rounding errors."""
    step = 2 ** (32 - log_modulus)
    mask = [int(a) for a in ciphertext[:-1]]
    rounded = [(a + step // 2) // step for a in mask]
    error = sum(r * step - a for r, a in zip(rounded, mask, strict=True))
    body = (int(ciphertext[-1]) + error // 2) % Q
    return [v % 2**log_modulus for v in [*rounded, (body + step // 2) // step]]


def blind_rotate(switched, test, key, mask, body):
    """X**-phase times a test ciphertext."""
    acc = np.array([rotate(p, -switched[-1]) % Q for p in test])
    for a, ggsw in zip(switched[:-1], key, strict=True):
        difference = np.array([(rotate(p, a) - p) % Q for p in acc])
        acc = (acc + external_product(ggsw, difference, mask, body)) % Q
    return acc


def extract(glwe):
    """LWE ciphertext of the constant coefficient."""
    mask = [np.concatenate([p[:1], -p[:0:-1]]) % Q for p in glwe[:-1]]
    return np.concatenate([*mask, glwe[-1][:1]])


def switch_key(ciphertext, key, gadget):
    """LWE key switch by its definition."""
    total = np.zeros(key.shape[-1], object)
    total[-1] = int(ciphertext[-1])
    for i, a in enumerate(ciphertext[:-1]):
        for j, digit in enumerate(digits(a, *gadget)):
            total -= digit * key[i, j].astype(object)
    return total % Q


def bootstrap_sign(ciphertext, server):
    """Key switch, modulus switch, blind rotation, extraction (key switch first)."""
    p = server.params
    small = switch_key(ciphertext, server.switching, p.switch_gadget)
    switched = switch_modulus(small, (2 * p.polynomial_size).bit_length() - 1)
    test = np.zeros((p.glwe_dimension + 1, p.polynomial_size), object)
    test[-1] = 2**29
    key = server.bootstrapping.astype(object)
    return extract(blind_rotate(switched, test, key, p.mask_gadget, p.body_gadget))
