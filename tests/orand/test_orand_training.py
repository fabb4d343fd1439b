import json
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra train")

from lightning.fabric import Fabric

from tests.orand import two_processes
from tests.orand.blobs import write_pairs
from tobias_aug import ORANDNet, TobiasError
from tobias_aug.masks.formats import read_class_maps
from tobias_aug.orand.apply import apply_orandnet, load_orandnet
from tobias_aug.orand.folders import fuse_folder
from tobias_aug.orand.pairs import MapPairs
from tobias_aug.orand.training import train_orandnet


def made(width=8, **options):
    torch.manual_seed(0)
    return ORANDNet(padding=1, width=width, **options)


def trained(pairs, run, net=None, **options):
    net = made() if net is None else net
    fabric = Fabric(accelerator="cpu", precision=options.pop("precision", "32-true"))
    return net, train_orandnet(
        net, pairs, run, **{"steps": 4, "batch_size": 2, "log_every": 1} | options, fabric=fabric
    )


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def test_it_learns_to_shrink_or_towards_and(tmp_path):
    folders = write_pairs(tmp_path, images=1)
    pairs = MapPairs(*folders, threshold=0.5)
    _, result = trained(pairs, tmp_path / "run", made(width=16, smoothing=0), steps=40, batch_size=1, lr=3e-3)
    assert (result.done, result.failures) == (1, [])
    seen = losses(tmp_path / "run")
    assert np.mean(seen[-5:]) < np.mean(seen[:5]) / 3
    apply_orandnet(*folders, tmp_path / "run", tmp_path / "out", device="cpu", quiet=True)
    for operation in ("or", "and"):
        fuse_folder(*folders, tmp_path / operation, operation, quiet=True)
    either, both, found = (read_class_maps(tmp_path / name / "0.npz").maps > 0.5 for name in ("or", "and", "out"))

    def overlap(mask):
        return (mask & both).sum() / (mask | both).sum()

    assert both.sum() <= found.sum() * 1.25
    assert found.sum() < either.sum()
    assert overlap(found) > overlap(either) + 0.2


class Stopping(MapPairs):
    """Stops the process after so many samples."""

    left = 7

    def __getitem__(self, index):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().__getitem__(index)


def test_a_stopped_training_goes_on_as_if_nothing_had_been(tmp_path):
    folders = write_pairs(tmp_path)
    whole, _ = trained(MapPairs(*folders), tmp_path / "whole", checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        trained(Stopping(*folders), tmp_path / "cut", checkpoint_every=2)
    torch.manual_seed(99)
    rest, _ = trained(MapPairs(*folders), tmp_path / "cut", ORANDNet(padding=1, width=8), checkpoint_every=2)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert len(set(losses(tmp_path / "cut"))) == 4
    for mine, theirs in zip(rest.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(TobiasError, match="choose another folder, or give the settings of this one"):
        trained(MapPairs(*folders), tmp_path / "cut", steps=5)


def test_the_learning_rate_falls_as_the_paper_says(tmp_path):
    pairs = MapPairs(*write_pairs(tmp_path))
    trained(pairs, tmp_path / "run", steps=2, lr=0.5, momentum=0)
    stored = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    group = stored["optimizer"]["param_groups"][0]
    assert (group["initial_lr"], group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0, 0, 0)
    assert stored["schedule"]["last_epoch"] == 2


def test_images_of_one_class_do_not_move_the_official_network(tmp_path):
    pairs = MapPairs(*write_pairs(tmp_path), variant="official")
    net = made(variant="official")
    before = [value.clone() for value in net.parameters()]
    trained(pairs, tmp_path / "run", net, steps=2)
    assert all(map(torch.equal, net.parameters(), before))
    assert losses(tmp_path / "run") == [0, 0]
    two = MapPairs(*write_pairs(tmp_path / "two", classes=2), variant="official")
    trained(two, tmp_path / "moves", net, steps=2)
    assert not torch.equal(net.score.weight, before[[name for name, _ in net.named_parameters()].index("score.weight")])


def test_bfloat16_stays_finite(tmp_path):
    net, _ = trained(MapPairs(*write_pairs(tmp_path)), tmp_path / "run", steps=3, precision="bf16-mixed", lr=0.01)
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in net.parameters())
    assert np.isfinite(losses(tmp_path / "run")).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_files_that_cannot_be_read_are_listed_once(tmp_path, workers):
    folders = write_pairs(tmp_path)
    (folders[0] / "1.npz").write_bytes(b"damaged")
    (folders[1] / "2.npz").unlink()
    _, result = trained(MapPairs(*folders), tmp_path / "run", workers=workers)
    assert result.done == 4
    assert [failure.key for failure in result.failures] == ["2", "1"]
    listed = [json.loads(line) for line in (tmp_path / "run" / "failures.jsonl").read_text().splitlines()]
    assert [line["key"] for line in listed] == ["1"]
    assert "holds no class maps of this library" in listed[0]["reason"]


def test_a_checkpoint_brings_its_network_back(tmp_path):
    net, _ = trained(MapPairs(*write_pairs(tmp_path), size=16), tmp_path / "run", made(smoothing=0.2), steps=1)
    loaded, about = load_orandnet(tmp_path / "run")
    assert loaded.settings() == {"padding": 1, "width": 8, "variant": "paper", "smoothing": 0.2}
    assert (about["size"], about["step"]) == (16, 1)
    assert not loaded.training
    for mine, theirs in zip(loaded.parameters(), net.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*; train one with tobias-aug orand train"):
        load_orandnet(tmp_path)
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="is no checkpoint of ORANDNet"):
        load_orandnet(tmp_path)


def test_network_and_pairs_must_be_of_one_variant(tmp_path):
    with pytest.raises(ValueError, match="the network is of the official variant, the pairs are of the paper one"):
        trained(MapPairs(*write_pairs(tmp_path)), tmp_path / "run", made(variant="official"))


def test_two_processes_train_as_one_does_with_both_batches(tmp_path):
    write_pairs(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launch, two_processes.__file__, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    initial, (expected, _) = two_processes.made(), two_processes.trained(tmp_path, "one", batch_size=4)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    apart = sum((found[name] - value).square().sum() for name, value in expected.state_dict().items())
    moved = sum((initial.state_dict()[name] - value).square().sum() for name, value in expected.state_dict().items())
    assert apart.sqrt() < 1e-4 * moved.sqrt()
    # Each of the damaged file's neighbours was read by one process or the other, and it is listed once.
    assert [line["key"] for line in map(json.loads, (tmp_path / "two" / "failures.jsonl").open())] == ["1"]


def test_without_lightning_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    monkeypatch.delitem(sys.modules, "tobias_aug.orand.training")
    with pytest.raises(ImportError, match=r"needs lightning; install it with: pip install 'tobias-aug\[train\]'"):
        import tobias_aug.orand.training  # noqa: F401
