"""Every example of a docstring runs as it stands: it imports what it uses."""

import doctest
import importlib
import pkgutil

import pytest

import tobias_aug
import tools

MODULES = sorted(
    module.name
    for package in (tobias_aug, tools)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if ".configs" not in module.name
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run_as_they_stand(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"needs what is not here: {error}")
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, globs={}):
        output = []
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        failed = runner.run(example, out=output.append).failed if example.examples else 0
        assert not failed, "".join(output)
