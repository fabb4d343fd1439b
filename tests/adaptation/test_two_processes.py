"""Two gloo processes, each with half of the batch, against one process with the whole."""

import subprocess
import sys

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra train")

from lightning.fabric import Fabric

from tests.adaptation import two_processes

pytestmark = pytest.mark.slow

LOCAL = ("MMD, each for itself", "balance, each for itself")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29573"]
    done = subprocess.run([*launch, two_processes.__file__, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", [name for name in two_processes.cases() if name not in LOCAL])
def test_value_and_gradient_are_those_of_the_joined_batch(found, name):
    value, gradients = two_processes.value_and_gradients(two_processes.cases()[name], two_processes.batch())
    torch.testing.assert_close(found[name][0], value, rtol=1e-10, atol=1e-12)
    compared = 0
    for theirs, ours in zip(found[name][1], gradients, strict=True):
        if ours is None:
            assert theirs is None or not theirs.any()
        else:
            torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-12)
            compared += 1
    assert compared


@pytest.mark.parametrize("name", LOCAL)
def test_without_gathering_processes_estimate_for_themselves(found, name):
    value, _ = two_processes.value_and_gradients(two_processes.cases()[name], two_processes.batch())
    assert not torch.allclose(found[name][0], value, rtol=1e-4, atol=0)


def test_the_ready_steps_train_as_one_process_would(found):
    expected = two_processes.trained(Fabric(accelerator="cpu"), lambda whole: whole)
    for theirs, ours in zip(found["steps"], expected, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-8, atol=1e-10)
