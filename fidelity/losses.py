"""Terms of a label-preservation loss, each written for one example.

A *term* maps `(student, reference, label)` to a scalar: what one compressed network
should be punished for on one image, given what the reference network said there. Both
outputs are `fidelity.models.Output` of one example: `logits [C]` and a tuple of feature
maps `[H, W, K]`. Batch with `jax.vmap`.

The multi-part loss of "Reliable Model Compression via Label-Preservation-Aware Loss
Functions" (Joseph et al. 2020, arXiv:2012.01604) is a weighted sum of such terms; the
weights come from `fidelity.weighting`.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from fidelity.models.layers import Output

Term = Callable[[Output, Output, jax.Array], jax.Array]


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Cross-entropy with the true label.

    Args:
        logits: `[C]`, float.
        label: scalar integer in `[0, C)`.

    Returns:
        Scalar, in nats.
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


def predicted_cross_entropy(
    logits: jax.Array, reference_logits: jax.Array
) -> jax.Array:
    """Cross-entropy with the label that the reference predicts, right or wrong.

    Args:
        logits: `[C]`, of the compressed network.
        reference_logits: `[C]`, of the reference.

    Returns:
        Scalar, in nats.
    """
    return cross_entropy(logits, jnp.argmax(reference_logits))


def soft_target(
    logits: jax.Array, reference_logits: jax.Array, temperature: float = 4.0
) -> jax.Array:
    """Divergence of the softened predictions from the softened reference.

    `T^2 KL(softmax(z_ref / T) || softmax(z / T))`; the factor keeps the gradient's
    size independent of `T` (Hinton et al. 2015, arXiv:1503.02531, section 2).

    Args:
        logits: `[C]`, of the compressed network.
        reference_logits: `[C]`, of the reference.
        temperature: `T > 0`; large values transfer the ranking of unlikely classes.

    Returns:
        Scalar, in nats.
    """
    log_p = jax.nn.log_softmax(logits / temperature)
    log_q = jax.nn.log_softmax(reference_logits / temperature)
    return temperature**2 * jnp.sum(jnp.exp(log_q) * (log_q - log_p))


def logit_pairing(logits: jax.Array, reference_logits: jax.Array) -> jax.Array:
    """Mean squared difference of the two logit vectors.

    Args:
        logits: `[C]`, of the compressed network.
        reference_logits: `[C]`, of the reference.

    Returns:
        Scalar, `mean_c (z_c - z_ref_c)^2` (Ba & Caruana 2014, arXiv:1312.6184, eq. 1,
        up to the factor).
    """
    return jnp.mean(jnp.square(logits - reference_logits))


def _unit(x: jax.Array) -> jax.Array:
    """Flattens to a vector of length one; zero stays zero with a finite gradient."""
    x = x.astype(jnp.float32).reshape(-1)
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x)) + 1e-12)


def feature_transfer(
    features: Sequence[jax.Array], reference_features: Sequence[jax.Array]
) -> jax.Array:
    """Squared distance of normalised feature maps, averaged over stages.

    Args:
        features: maps `[H, W, K]` (or `[K]`) of the compressed network.
        reference_features: maps of the same shapes, of the reference.

    Returns:
        Scalar in `[0, 4]`: `mean_j ||f_j/|f_j| - r_j/|r_j|||^2` (after FitNets, Romero
        et al. 2015, arXiv:1412.6550, without a regressor: the shapes agree).

    Raises:
        ValueError: if the shapes differ, as they do in a slimmed network.
    """
    distances = []
    for ours, theirs in zip(features, reference_features, strict=True):
        if ours.shape != theirs.shape:
            raise ValueError(
                f"feature maps differ in shape, {ours.shape} and {theirs.shape}: "
                "train with masks first, or use attention_transfer"
            )
        distances.append(jnp.sum(jnp.square(_unit(ours) - _unit(theirs))))
    return jnp.mean(jnp.stack(distances))


def attention_transfer(
    features: Sequence[jax.Array], reference_features: Sequence[jax.Array]
) -> jax.Array:
    """Squared distance of normalised spatial attention maps, averaged over stages.

    A map's attention is its squared activation summed over channels, so the two
    networks may differ in width (Zagoruyko & Komodakis 2017, arXiv:1612.03928, eq. 2).

    Args:
        features: maps `[H, W, K]`; ones without space (`[K]`) are passed over.
        reference_features: the reference's maps, same `H` and `W`.

    Returns:
        Scalar in `[0, 4]`; zero for a network without spatial features.
    """
    distances = [
        jnp.sum(
            jnp.square(
                _unit(jnp.sum(jnp.square(ours.astype(jnp.float32)), -1))
                - _unit(jnp.sum(jnp.square(theirs.astype(jnp.float32)), -1))
            )
        )
        for ours, theirs in zip(features, reference_features, strict=True)
        if ours.ndim == 3
    ]
    return jnp.mean(jnp.stack(distances)) if distances else jnp.zeros(())


def names() -> tuple[str, ...]:
    """The names that `term` knows.

    Example:
        >>> names()
        ('ce', 'pred', 'kd', 'mse', 'feature', 'attention')
    """
    return ("ce", "pred", "kd", "mse", "feature", "attention")


def term(name: str, *, temperature: float = 4.0) -> Term:
    """The term called `name`.

    Args:
        name: "ce" (true label), "pred" (the reference's label), "kd" (soft targets),
            "mse" (logit pairing), "feature" or "attention".
        temperature: of "kd".

    Returns:
        A function `(student, reference, label) -> scalar` of one example.

    Raises:
        ValueError: unknown name, or a temperature that is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    known: dict[str, Term] = {
        "ce": lambda s, r, y: cross_entropy(s.logits, y),
        "pred": lambda s, r, y: predicted_cross_entropy(s.logits, r.logits),
        "kd": lambda s, r, y: soft_target(s.logits, r.logits, temperature),
        "mse": lambda s, r, y: logit_pairing(s.logits, r.logits),
        "feature": lambda s, r, y: feature_transfer(s.features, r.features),
        "attention": lambda s, r, y: attention_transfer(s.features, r.features),
    }
    if name not in known:
        raise ValueError(f"unknown loss {name!r}; choose from {', '.join(names())}")
    return known[name]


def multi_part(terms: Sequence[str], *, temperature: float = 4.0) -> Term:
    """Several terms at once, for `fidelity.weighting` to weigh.

    Args:
        terms: `K` names, see `term`.
        temperature: of "kd".

    Returns:
        A function `(student, reference, label) -> [K]` of one example.

    Raises:
        ValueError: no terms, a repeated one, or an unknown one.

    Example:
        >>> loss = multi_part(("ce", "kd"))
        >>> out = Output(jnp.array([2.0, 0.0]), ())
        >>> [round(float(v), 4) for v in loss(out, out, jnp.array(0))]
        [0.1269, 0.0]
    """
    if not terms or len(set(terms)) != len(terms):
        raise ValueError(f"name each loss term once, got {list(terms)}")
    parts = [term(name, temperature=temperature) for name in terms]
    return functools.partial(_stack, parts)


def _stack(
    parts: Sequence[Term], student: Output, reference: Output, label: jax.Array
) -> jax.Array:
    return jnp.stack([part(student, reference, label) for part in parts])
