"""The face of the package, and the examples in its docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import fidelity

MODULES = [m.name for m in pkgutil.walk_packages(fidelity.__path__, "fidelity.")]


@pytest.mark.parametrize("name", fidelity.__all__)
def test_public_name_exists(name):
    assert getattr(fidelity, name) is not None


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    # Examples print as a user's terminal does, without the suite's strict settings.
    found = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
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
    assert len(examples) > 20
