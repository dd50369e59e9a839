"""The face of the package, and the examples in its docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import fhe

MODULES = [m.name for m in pkgutil.walk_packages(fhe.__path__, "fhe.")]


@pytest.mark.parametrize("name", fhe.__all__)
def test_public_name_exists(name):
    assert getattr(fhe, name) is not None


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"fhe": fhe})
    assert found.failed == 0


def test_docstring_examples_are_found():
    finder = doctest.DocTestFinder()
    examples = [
        example
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        for example in test.examples
    ]
    assert len(examples) > 10
