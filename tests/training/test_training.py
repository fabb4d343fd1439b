import json

import pytest
import torch

lightning = pytest.importorskip("lightning", reason="needs the extra train")

from lightning.fabric import Fabric  # noqa: E402

from tobias_aug.training import ReproducibleLoader, train  # noqa: E402
from tobias_aug.training.checkpoint import NAME, load_checkpoint, save_checkpoint  # noqa: E402


class Noisy(torch.utils.data.Dataset):
    """Samples that draw from torch, NumPy and Python."""

    def __len__(self):
        return 23

    def __getitem__(self, index):
        import random

        import numpy as np

        return torch.tensor([index, torch.rand(()), np.random.rand(), random.random()], dtype=torch.float64)


def epoch(number, start=0, **options):
    loader = ReproducibleLoader(Noisy(), 4, seed=7, **options)
    return torch.stack(list(loader.epoch(number, start)))


def test_batches_depend_on_seed_epoch_and_number_alone():
    whole = epoch(1)
    assert whole.shape == (5, 4, 4)
    assert torch.equal(epoch(1, workers=2), whole)
    assert torch.equal(epoch(1, start=3), whole[3:])
    assert not torch.equal(epoch(2), whole)
    assert len(whole[..., 0].unique()) == 20
    assert len(whole[..., 1].unique()) == 20


def test_processes_share_an_epoch_without_overlap():
    first, second = (epoch(0, rank=rank, world_size=2)[..., 0].flatten() for rank in range(2))
    assert len(first) == len(second) == 8
    assert not set(first.tolist()) & set(second.tolist())


def test_a_batch_that_cannot_be_filled_is_rejected():
    with pytest.raises(ValueError, match="23 samples do not fill one batch of 24 on 1 processes; use a smaller batch"):
        ReproducibleLoader(Noisy(), 24)


def experiment(folder, steps, stop_after=None, every=4):
    """A small regression with dropout and momentum; may stop dead after some steps."""
    fabric = Fabric(accelerator="cpu")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model, optimizer = fabric.setup(model, optimizer)
    seen = []

    def step(batch):
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        loss = (model(batch[:, 1:].float()) - batch[:, 1:2].float()).square().mean()
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        schedule.step()
        seen.append(loss.item())
        return {"loss": loss}

    loader = ReproducibleLoader(Noisy(), 4, seed=1)
    state = {"model": model, "optimizer": optimizer, "schedule": schedule}
    times = train(fabric, step, loader, state, folder, steps=steps, checkpoint_every=every, log_every=2)
    return seen, model, times


@pytest.mark.parametrize("every", [4, 5], ids=["between two lines of the log", "in the middle of one"])
def test_training_continues_in_the_middle_of_an_epoch_as_if_nothing_had_been(tmp_path, every):
    whole, model, times = experiment(tmp_path / "whole", 14, every=every)
    assert set(times) == {"step_seconds", "data_seconds"}
    with pytest.raises(KeyboardInterrupt):
        experiment(tmp_path / "cut", 14, stop_after=11, every=every)
    rest, resumed, _ = experiment(tmp_path / "cut", 14, every=every)
    assert rest == whole[2 * every :]
    for mine, theirs in zip(resumed.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    lines = [json.loads(line) for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(line["step"], line["loss"]) for line in expected]
    assert experiment(tmp_path / "cut", 14)[0] == []


def test_the_log_says_the_mean_loss_of_its_steps(tmp_path):
    seen, _, _ = experiment(tmp_path, 5)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert lines[0]["loss"] == pytest.approx((seen[0] + seen[1]) / 2)
    assert lines[2]["loss"] == pytest.approx(seen[4])


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('the checkpoint ran code')",)


def test_a_checkpoint_that_would_run_code_is_rejected(tmp_path):
    fabric = Fabric(accelerator="cpu")
    assert load_checkpoint(fabric, tmp_path, {}) == (0, {})
    torch.save({"step": 3, "generators": Bomb()}, tmp_path / NAME)
    with pytest.raises(Exception, match="[Ww]eights.only"):
        load_checkpoint(fabric, tmp_path, {})


def test_a_checkpoint_is_replaced_whole(tmp_path, monkeypatch):
    fabric = Fabric(accelerator="cpu")
    layer = torch.nn.Linear(2, 2)
    save_checkpoint(fabric, tmp_path, {"layer": layer}, 1, {})
    before = (tmp_path / NAME).read_bytes()

    def broken(path, state):
        path.write_bytes(b"half a checkpo")
        raise OSError("disk full")

    monkeypatch.setattr(fabric, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(fabric, tmp_path, {"layer": layer}, 2, {})
    assert (tmp_path / NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
