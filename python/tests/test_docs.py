"""The examples in the docstrings run as they are written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import pycylon


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(pycylon.__path__) if m.name != "_core"])
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(f"pycylon.{name}")
    assert doctest.testmod(module, raise_on_error=False).failed == 0


@pytest.mark.parametrize("page", ["docs/semantics.md", "docs/failures.md", "README.md"])
def test_examples_of_the_pages(page: str) -> None:
    path = Path(__file__).resolve().parents[2] / page
    assert doctest.testfile(str(path), module_relative=False, optionflags=doctest.ELLIPSIS).failed == 0
