"""Modules and names that moved are found by their old names for one version."""

import importlib
import sys

import pytest

from tobias_aug.runtime.moved import NAMES, NEW
from tobias_aug.runtime.renamed import current_value, renamed_arguments


@pytest.mark.parametrize("old", sorted(NEW))
def test_a_module_is_found_by_its_old_name_and_says_the_new_one(old, monkeypatch):
    new = importlib.import_module(NEW[old])
    spec = new.__spec__
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(FutureWarning, match=f"{old} is called {NEW[old]} now; the old name goes with the next version"):
        found = importlib.import_module(old)
    monkeypatch.delitem(sys.modules, old)
    assert found is new
    assert found.__spec__ is spec
    for name, other in NAMES.get(NEW[old], {}).items():
        assert getattr(found, name) is getattr(new, other)


def test_old_arguments_and_values_are_taken_with_a_warning():
    @renamed_arguments(deviation="std")
    def scaled(value, std=1.0):
        return value * std

    assert scaled(2, std=3) == 6
    with pytest.warns(FutureWarning, match="'deviation' is called 'std' now"):
        assert scaled(2, deviation=3) == 6
    with pytest.raises(TypeError, match="'std' is given twice: 'deviation' is its old name"):
        scaled(2, std=3, deviation=3)
    assert current_value("keep-center") == "keep-center"
    with pytest.warns(FutureWarning, match="'keep-centre' is called 'keep-center' now"):
        assert current_value("keep-centre") == "keep-center"
