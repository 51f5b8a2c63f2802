"""Every example in a docstring does what it says."""

import doctest
import importlib
import pkgutil

import pytest

import builder

MODULES = sorted(m.name for m in pkgutil.walk_packages(builder.__path__, "builder.") if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
