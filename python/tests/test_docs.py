"""The examples in the docstrings run as they are written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import pycylon


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(pycylon.__path__) if m.name != "_core"])
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(f"pycylon.{name}")
    assert doctest.testmod(module, raise_on_error=False).failed == 0
