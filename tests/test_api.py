"""The faces of the packages, and the examples in their docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import atari
import fhe
import fidelity

PACKAGES = (atari, fhe, fidelity)
MODULES = [
    module.name
    for package in PACKAGES
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]
# Their examples emulate whole resets, for minutes; tests/atari covers the same calls.
SLOW = {
    f"atari.{m}" for m in ("adapters", "console", "environment", "mixed", "resetting")
}


@pytest.mark.parametrize(
    ("package", "name"), [(p, name) for p in PACKAGES for name in p.__all__]
)
def test_public_name_exists(package, name):
    assert getattr(package, name) is not None


@pytest.mark.parametrize("name", [m for m in MODULES if m not in SLOW])
def test_docstring_examples(name):
    found = doctest.testmod(
        importlib.import_module(name),
        extraglobs={"fhe": fhe},
        optionflags=doctest.NORMALIZE_WHITESPACE,
    )
    assert found.failed == 0


def test_docstring_examples_are_found():
    finder = doctest.DocTestFinder()
    examples = [
        example
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        for example in test.examples
    ]
    assert len(examples) > 40


@pytest.mark.parametrize("package", PACKAGES)
def test_wings_do_not_import_each_other(package):
    others = {p.__name__ for p in PACKAGES} - {package.__name__}
    for name in MODULES:
        if not name.startswith(package.__name__ + "."):
            continue
        text = importlib.util.find_spec(name).loader.get_source(name)
        for other in others | {"launch"}:
            assert f"from {other}" not in text, name
            assert f"import {other}\n" not in text, name
