"""The examples in the docstrings of the mel room give the results shown there."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from unmel.models.mel import config, suggest


@pytest.mark.parametrize("module", [config, suggest], ids=lambda module: module.__name__)
def test_the_examples_of_a_module_give_their_results(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed
