"""Two processes descend the gradient of the joined batch."""

import subprocess
import sys

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra train")

from lightning.fabric import Fabric

from tests.gan import two_processes
from tobias_aug.gan import model
from tobias_aug.gan import step as gan_step


@pytest.mark.slow
def test_two_processes_descend_the_gradient_of_the_joined_batch(tmp_path, monkeypatch):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29591"]
    done = subprocess.run([*launch, two_processes.__file__, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(gan_step, "draw_noise", model.draw_noise)
    expected = two_processes.gradients(Fabric(accelerator="cpu", devices=1))
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    # The discriminator's are those of the same weights; the generator's come after the discriminator's own step.
    torch.testing.assert_close(found[0], expected[0], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=2e-2, atol=1e-3)
