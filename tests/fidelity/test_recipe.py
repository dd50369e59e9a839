"""Recipes and preservation losses say what they are, and refuse what makes no sense."""

import dataclasses

import pytest

from fidelity.recipe import PRESERVATIONS, Preservation, Recipe, parse, preservation


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (Recipe(), "dense"),
        (Recipe(0.8), "80%"),
        (Recipe(0.8, "filter", bits=8), "80% filter + int8"),
        (Recipe(0.5, "nm"), "2:4"),
        (Recipe(bits=4, input_bits=8), "int4a8"),
    ],
)
def test_names(recipe, name):
    assert recipe.name == name


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"sparsity": 1.0}, r"\[0, 1\)"),
        ({"sparsity": -0.1}, r"\[0, 1\)"),
        ({"structure": "rows"}, "structure 'rows'"),
        ({"criterion": "luck"}, "criterion 'luck'"),
        ({"schedule": "never"}, "schedule 'never'"),
        ({"scope": "both"}, "scope 'both'"),
        ({"algorithm": "magic"}, "algorithm 'magic'"),
        ({"bits": 16}, "bits must be 2 to 8, got 16"),
        ({"input_bits": 1}, "bits must be 2 to 8, got 1"),
    ],
)
def test_bad_recipes(bad, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**bad)


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("0.8", Recipe(0.8)),
        (" int4", Recipe(bits=4)),
        (".5+int8", Recipe(0.5, bits=8)),
        ("0", Recipe()),
    ],
)
def test_parse(text, recipe):
    assert parse(text) == recipe
    assert parse(text, structure="block") == dataclasses.replace(
        recipe, structure="block"
    )


@pytest.mark.parametrize("text", ["", "int", "0.8int8", "80%", "+int8", "-0.5"])
def test_text_that_is_no_recipe(text):
    with pytest.raises(ValueError, match=r"write a sparsity, bits or both"):
        parse(text)


def test_unknown_loss_names_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown loss 'kl'.*softadapt"):
        preservation("kl")


@pytest.mark.parametrize("name", sorted(PRESERVATIONS))
def test_widening_keeps_the_loss(name):
    loss = preservation(name)
    wide = loss.widen(("ce", "pred", "mse", "kd", "attention", "feature"))
    if loss.tuned or loss.rule == "search":
        assert wide is loss
        return
    given = loss.weights or (1 / len(loss.terms),) * len(loss.terms)
    kept = {t: w for t, w in zip(wide.terms, wide.weights, strict=True) if w}
    assert kept == dict(zip(loss.terms, given, strict=True))


def test_widening_to_fewer_terms_is_refused():
    with pytest.raises(ValueError, match="kd"):
        PRESERVATIONS["kd"].widen(("ce",))


def test_tuned_rules_are_created_by_name():
    with pytest.raises(ValueError, match="nope"):
        Preservation(rule="nope").weighting()
    assert dataclasses.replace(PRESERVATIONS["softadapt"]).tuned
