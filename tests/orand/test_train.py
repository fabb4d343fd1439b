import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra train")

from lightning.fabric import Fabric

from tests.orand import two_processes
from tests.orand.blobs import write_pairs
from tobias_aug import ORANDNet, TobiasError
from tobias_aug.class_maps import ClassMaps, read_class_maps, write_class_maps
from tobias_aug.orand import MapPairs, apply_orandnet, fuse_folder, fusion_variant, load_orandnet, train_orandnet
from tobias_aug.orand.loss import VARIANTS


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


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_trained_network_is_applied_with_the_fusion_it_was_trained_on(tmp_path, variant):
    folders = write_pairs(tmp_path, images=2, classes=2)
    pairs = MapPairs(*folders, variant=fusion_variant(variant), offset=0.3)
    net, _ = trained(pairs, tmp_path / "run", made(variant=variant), steps=1)
    apply_orandnet(*folders, tmp_path / "run", tmp_path / "out", device="cpu", quiet=True)
    found = read_class_maps(tmp_path / "out" / "1.npz").maps
    torch.testing.assert_close(torch.from_numpy(found), net.eval().predict(pairs[1].either))


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


def test_a_stopped_training_resumes_as_if_it_never_stopped(tmp_path):
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


def mixed(root, single, several):
    """Two folders of images of one class, and of images of two."""
    folders = write_pairs(root, images=single)
    write_pairs(root / "two", images=several, classes=2)
    for folder in folders:
        for path in sorted((root / "two" / folder.name).glob("*.npz")):
            path.rename(folder / f"two-{path.name}")
    return folders


def test_the_official_loss_is_not_trained_on_images_of_one_class_alone(tmp_path):
    pairs = MapPairs(*write_pairs(tmp_path), variant="official")
    with pytest.raises(ValueError, match="none of 6 images has two classes") as raised:
        trained(pairs, tmp_path / "run", made(variant="official"))
    assert "the official loss of an image of one class is exactly zero, gradient included" in str(raised.value)
    assert 'take the variant "competing" or "paper"' in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_it_is_trained_where_one_image_has_two_and_the_share_of_others_is_said(tmp_path):
    pairs = MapPairs(*mixed(tmp_path, single=5, several=1), variant="official")
    net = made(variant="official")
    before = [value.clone() for value in net.parameters()]
    with pytest.warns(
        UserWarning, match=r"^5 of 6 images \(83 %\) have one class: they train nothing under the official"
    ):
        trained(pairs, tmp_path / "run", net, steps=3)
    assert not all(map(torch.equal, net.parameters(), before))


def test_the_competing_loss_trains_on_images_of_one_class_and_says_that_nothing_competes(tmp_path):
    pairs = MapPairs(*write_pairs(tmp_path))
    with pytest.warns(UserWarning, match=r"^6 of 6 images \(100 %\) have one class: they train by the paper's loss"):
        net, _ = trained(pairs, tmp_path / "competing", made(variant="competing"), momentum=0)
    alone, _ = trained(pairs, tmp_path / "paper", made(variant="paper"), momentum=0)
    np.testing.assert_allclose(losses(tmp_path / "competing"), losses(tmp_path / "paper"), rtol=1e-4)
    for mine, theirs in zip(net.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "single", "several"), [("official", 0, 4), ("competing", 0, 4), ("paper", 4, 0), ("paper", 2, 2)]
)
def test_nothing_is_said_where_the_loss_has_what_it_needs(tmp_path, variant, single, several):
    folders = mixed(tmp_path, single, several)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*one class.*")
        trained(MapPairs(*folders, variant=fusion_variant(variant)), tmp_path / "run", made(variant=variant), steps=1)


def test_a_part_of_many_images_is_looked_at_but_all_before_none_is_said_to_have_two(tmp_path, monkeypatch):
    monkeypatch.setattr("tobias_aug.orand.train.LOOKED_AT", 2)
    folders = mixed(tmp_path, single=9, several=1)
    with pytest.warns(UserWarning, match=r"of \d+ images looked at|9 of 10 images \(90 %\)"):
        trained(MapPairs(*folders, variant="official"), tmp_path / "run", made(variant="official"), steps=1)
    for folder in folders:
        (folder / "two-0.npz").unlink()
    with pytest.raises(ValueError, match="none of 9 images has two classes"):
        trained(MapPairs(*folders, variant="official"), tmp_path / "other", made(variant="official"))


def test_a_class_that_only_one_classifier_saw_counts_and_what_cannot_be_read_does_not(tmp_path):
    folders = write_pairs(tmp_path, images=3)
    own = read_class_maps(folders[1] / "0.npz")
    write_class_maps(folders[1] / "0.npz", ClassMaps(own.keys + 7, own.maps))
    (folders[0] / "1.npz").write_bytes(b"damaged")
    pairs = MapPairs(*folders, variant="official")
    assert [pairs.count_classes(index) for index in range(3)] == [2, 0, 1]
    with pytest.warns(UserWarning, match=r"^1 of 2 images looked at \(50 %\) have one class"):
        trained(pairs, tmp_path / "run", made(variant="official"), steps=1)


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
    folders = write_pairs(tmp_path)
    message = 'the network is of the official variant, the pairs are of the paper one; give MapPairs variant="official"'
    with pytest.raises(ValueError, match=message):
        trained(MapPairs(*folders), tmp_path / "run", made(variant="official"))
    with pytest.raises(ValueError, match='give MapPairs variant="paper"'):
        trained(MapPairs(*folders, variant="official"), tmp_path / "run", made(variant="competing"))


@pytest.mark.slow
def test_two_processes_train_as_one_does_with_both_batches(tmp_path):
    write_pairs(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launch, two_processes.__file__, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    initial, (expected, _) = two_processes.made(), two_processes.trained(tmp_path, "one", batch_size=4)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    difference = sum((found[name] - value).square().sum() for name, value in expected.state_dict().items())
    moved = sum((initial.state_dict()[name] - value).square().sum() for name, value in expected.state_dict().items())
    assert difference.sqrt() < 1e-4 * moved.sqrt()
    # Each of the damaged file's neighbors was read by one process or the other, and it is listed once.
    assert [line["key"] for line in map(json.loads, (tmp_path / "two" / "failures.jsonl").open())] == ["1"]


def test_without_lightning_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    monkeypatch.delitem(sys.modules, "tobias_aug.orand.train")
    with pytest.raises(ImportError, match=r"needs lightning; install the extra .train., .* pip install '.\[train\]'"):
        import tobias_aug.orand.train  # noqa: F401
