import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightly", reason="needs the extra lightly")
pytest.importorskip("lightning", reason="needs the extra train")

from tobias_aug import build_masks

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "pretrain_lightly.py"
SMALL = ["--input-size", "32", "--batch-size", "4", "--queue", "8", "--steps", "8", "--workers", "1"]
OFTEN = ["--checkpoint-every", "3", "--log-every", "1"]


def command(photos, table, out, *more):
    return [str(EXAMPLE), str(photos), "--tobias", str(table), "--out", str(out), *SMALL, *OFTEN, *more]


def losses(out):
    lines = (out / "log.jsonl").read_text().splitlines()
    return [(entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


@pytest.fixture
def table(photos, tmp_path, brightness):
    return build_masks(photos, brightness, tmp_path / "masks", workers=0, quiet=True).path


def test_a_killed_run_continues_with_the_losses_of_one_that_was_not(photos, table, tmp_path):
    whole = subprocess.run(
        [sys.executable, *command(photos, table, tmp_path / "whole")], check=True, capture_output=True, text=True
    )
    assert "median step_seconds:" in whole.stdout
    cut = [sys.executable, *command(photos, table, tmp_path / "cut")]
    with subprocess.Popen(cut, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        for line in process.stdout:
            if line.startswith(b"step 5/"):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    again = subprocess.run(cut, check=True, capture_output=True, text=True)
    assert "continuing after step 3" in again.stdout
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_a_run_resumed_with_more_steps_takes_the_longer_runs_rates(photos, table, tmp_path):
    def rates(out, *more):
        done = subprocess.run([sys.executable, *command(photos, table, out, *more)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["rate"] for line in (out / "log.jsonl").read_text().splitlines()]

    whole = rates(tmp_path / "whole")
    assert whole == sorted(whole, reverse=True)
    assert whole[-1] > 0
    short = rates(tmp_path / "cut", "--steps", "4")
    resumed = rates(tmp_path / "cut")
    assert resumed == [*short, *whole[4:]]
    assert resumed == sorted(resumed[:4], reverse=True) + sorted(whole[4:], reverse=True)


@pytest.mark.parametrize("method", ["moco", "simclr"])
def test_two_processes_train_together(photos, table, tmp_path, method):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29571"]
    arguments = command(photos, table, tmp_path / "out", "--method", method, "--background", "dataset")
    done = subprocess.run([*launch, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in losses(tmp_path / "out")] == list(range(1, 9))
