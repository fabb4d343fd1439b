"""Every mix compiled, in other dtypes, on a GPU, and in the workers of a loader."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from tests.contracts.mixes import CLASSES, MIXES, same, seeded

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
# Rounding of the values of a batch: half a step of uint8, half a unit in the last place of values up to 8.
STEPS = {torch.uint8: 0.5, torch.float16: 2**-8, torch.bfloat16: 2**-5, torch.float32: 2**-18}


@pytest.fixture(scope="module")
def compiled():
    """What became of each mix under torch.compile, in a process without the tests' own checks of every signature."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    command = [sys.executable, "-m", "tests.contracts.compile_mixes"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in MIXES.items() if case.compiles])
def test_apply_compiles_whole_and_gives_the_same(name, compiled):
    assert compiled[f"apply {name}"] == "the same"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in MIXES.items() if case.compiles])
def test_a_compiled_step_takes_a_smaller_last_batch(name, compiled):
    assert compiled[f"step {name}"] == "the same"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_the_programs_default_dtype_changes_nothing(case, dtype):
    images, labels = case.batch(6)

    def drawn():
        torch.manual_seed(2)
        params = case.draw(case.make(), images, labels)
        return params, case.make().apply((images, labels), params)

    expected_params, expected = drawn()
    torch.set_default_dtype(dtype)
    try:
        params, found = drawn()
        assert params["ratio"].dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(params["ratio"], expected_params["ratio"])
    assert same(found, expected)
    assert found[1].dtype == expected[1].dtype


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int32, torch.uint16], ids=str)
def test_labels_may_be_of_any_dtype_that_holds_indices(case, dtype):
    images, _ = case.batch(6)
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    for given in (labels, torch.nn.functional.one_hot(labels, CLASSES)):
        expected, found = (case.call(case.make(generator=seeded(1)), images, each) for each in (given, given.to(dtype)))
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1] if case.soft else given.to(dtype))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_generator_may_live_on_a_gpu(case, device):
    images, labels = (each.to(device) for each in case.batch(6))
    made = [case.make(generator=torch.Generator("cuda").manual_seed(1)) for _ in range(2)]
    assert same(*(case.call(mix, images, labels) for mix in made))


class Collate:
    """As users write it: collate, then mix."""

    def __init__(self, case):
        self.mix, self.name = case.make(), next(name for name, other in MIXES.items() if other is case)

    def __call__(self, samples):
        return MIXES[self.name].call(self.mix, *default_collate(samples))


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_differently(case, persistent):
    images, labels = case.batch(8)
    # The same batch over and over, so that only the draw can differ.
    samples = [(images[n % 8], int(labels[n % 8])) for n in range(32)]
    loader = DataLoader(samples, 8, num_workers=2, collate_fn=Collate(case), persistent_workers=persistent)
    mixed = {batch[0].numpy().tobytes() for _ in range(2) for batch in loader}
    assert len(mixed) == 8
