import json
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from tobias_aug.class_maps import ClassMaps, read_class_maps, write_class_maps, write_index_mask
from tobias_aug.cli import main
from tobias_aug.errors import TobiasError
from tobias_aug.images import normalize
from tobias_aug.irn import IRNet, LabeledCrops, random_walk, read_irn, save_irn, walk_class_maps, walk_folder


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5)


@pytest.fixture
def network(backbone):
    torch.manual_seed(1)
    return IRNet(backbone).eval()


@pytest.fixture
def scenes(tmp_path):
    """Images with a bright disc on a dark ground, their index PNGs, and class maps of class 6."""
    for folder in ("images", "labels", "cams"):
        (tmp_path / folder).mkdir()
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :80]
    for name in "abcd":
        y, x = random.integers(20, 44), random.integers(20, 60)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 200
        image = np.where(disc[..., None], (230, 200, 60), (20, 40, 90)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        write_index_mask(tmp_path / "labels" / f"{name}.png", np.where(disc, 7, 0).astype(np.uint8))
        maps = np.where(disc, 0.9, 0.1).astype(np.float32)[None, ::4, ::4]
        write_class_maps(tmp_path / "cams" / f"{name}.npz", ClassMaps(np.array([6]), maps, {"stage": "cam"}))
    return tmp_path


@pytest.mark.parametrize("kind", ["resnet18", "resnet50"])
def test_the_networks_form(kind):
    torch.manual_seed(0)
    source = torchvision.models.get_model(kind)
    network = IRNet(source)
    logits, displacements = network(torch.rand(1, 3, 50, 70))
    assert logits.shape == (1, 13, 18)
    assert displacements.shape == (1, 2, 13, 18)
    image, steps = torch.rand(1, 3, 64, 64), []
    for stage in network.stages:
        image = stage(image)
        steps.append((image.shape[1], 64 // image.shape[2]))
    wide = 4 if kind == "resnet50" else 1
    assert steps == [(64, 4), (64 * wide, 4), (128 * wide, 8), (256 * wide, 16), (512 * wide, 16)]
    # The given network is left as it was.
    assert source.layer4[0].downsample[0].stride == (2, 2)
    assert source.layer4[0].conv2.weight.requires_grad


def test_only_the_branches_learn(network):
    network.train()
    before = {name: value.clone() for name, value in network.stages.state_dict().items()}
    logits, displacements = network(torch.rand(2, 3, 32, 32))
    (logits.sum() + displacements.sum()).backward()
    for name, value in network.stages.state_dict().items():
        assert torch.equal(value, before[name]), name
    edge, displacement = network.branch_parameters()
    assert all(parameter.grad is not None for parameter in edge + displacement)
    learning = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    assert learning == {id(parameter) for parameter in edge + displacement}


def test_the_mean_displacement_is_subtracted_in_eval_mode_alone(network):
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        plain = network(images)[1]
        network.mean_displacement.copy_(torch.tensor([2.0, -1.0]))
        torch.testing.assert_close(network(images)[1], plain - torch.tensor([2.0, -1.0]).view(2, 1, 1))
        network.train()
        torch.testing.assert_close(network(images)[1], plain)


def test_edges_are_of_the_image_and_its_mirror_image(network):
    image = torch.randint(256, (3, 50, 70), dtype=torch.uint8)
    padded = torch.zeros(2, 3, 96, 96)
    padded[0, :, :50, :70] = normalize(image / 255)
    padded[1, :, :50, :70] = normalize(image.flip(-1) / 255)
    with torch.no_grad():
        logits = network(padded)[0][:, :13, :18]
    expected = torch.sigmoid((logits[0] + logits[1].flip(-1)) / 2)
    edges = network.edges(image, 96)
    torch.testing.assert_close(edges, expected)
    # An image larger than the crop is seen whole.
    assert network.edges(image, 32).shape == (13, 18)
    assert network.edges(image.flip(-1), 96).shape == (13, 18)


def test_a_network_comes_back_from_its_file(network, tmp_path):
    save_irn(tmp_path / "irn.pt", network, 96)
    again, crop_size = read_irn(tmp_path / "irn.pt")
    assert crop_size == 96
    image = torch.randint(256, (3, 40, 40), dtype=torch.uint8)
    assert torch.equal(again.edges(image, 64), network.edges(image, 64))
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="holds no network of orand irn-train"):
        read_irn(tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match="run orand irn-train to its end"):
        read_irn(tmp_path / "none.pt")


def test_another_network_is_rejected():
    with pytest.raises(TypeError, match="expected a ResNet of torchvision.models, got Linear"):
        IRNet(nn.Linear(1, 1))


def test_a_crops_labels_lie_where_its_pixels_lie(scenes):
    crops = LabeledCrops(scenes / "images", scenes / "labels", crop_size=96)
    torch.manual_seed(0)
    seen = set()
    for _ in range(6):
        for image, labels in (crops[index] for index in range(len(crops))):
            assert image.shape == (3, 96, 96)
            assert labels.shape == (24, 24)
            red = image[0, 2::4, 2::4]  # Zero is no color of these images.
            agree = torch.where(red > 0.5, 7, torch.where(red < -0.5, 0, 255)) == labels
            assert agree.float().mean() > 0.95
            seen |= set(labels.unique().tolist())
    assert seen == {0, 7, 255}


def test_class_maps_are_cut_at_two_thresholds(scenes):
    crops = LabeledCrops(scenes / "images", scenes / "cams", low=0.2, high=0.8, crop_size=96)
    values = set().union(*(set(crops[index][1].unique().tolist()) for index in range(4)))
    assert values == {0, 7, 255}
    (scenes / "images" / "b.png").unlink()
    with pytest.raises(ValueError, match="1 labels have no image in .*: b"):
        LabeledCrops(scenes / "images", scenes / "cams")
    with pytest.raises(ValueError, match="multiple of 16 pixels, got 100"):
        LabeledCrops(scenes / "images", scenes / "cams", crop_size=100)


def test_walked_maps_are_irns(network):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    maps = ClassMaps(np.array([3, 1]), np.random.default_rng(1).random((2, 13, 18), dtype=np.float32))
    walked = walk_class_maps(network, maps, image, steps=8, crop_size=96)
    edges = network.edges(torch.from_numpy(image).permute(2, 0, 1), 96)
    scores = random_walk(torch.from_numpy(maps.maps), edges, steps=8)
    upsample = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False)
    full = upsample(scores[None])[0][:, :50, :70]
    np.testing.assert_allclose(walked.maps, (full / full.max()).numpy(), rtol=1e-5)
    assert walked.metadata["stage"] == "irn"
    empty = ClassMaps(np.empty(0, np.int64), np.empty((0, 13, 18), np.float32))
    assert walk_class_maps(network, empty, image, crop_size=96).maps.shape == (0, 50, 70)
    zero = ClassMaps(np.array([3]), np.zeros((1, 13, 18), np.float32))
    assert not walk_class_maps(network, zero, image, steps=1, crop_size=96).maps.any()


def test_walked_maps_in_half_precision_differ_little(network, scenes):
    (scenes / "run").mkdir()
    save_irn(str(scenes / "run" / "irn.pt"), network, 96)
    given = [str(scenes / name) for name in ("images", "cams", "run")]
    for precision in ("fp32", "bf16"):
        assert walk_folder(*given, str(scenes / precision), steps=4, precision=precision, quiet=True).done == 4
    full, half = (read_class_maps(scenes / precision / "a.npz").maps for precision in ("fp32", "bf16"))
    assert 0 < abs(full - half).mean() < 0.03
    with pytest.raises(TobiasError, match='precision is "bf16" there and not set here'):
        walk_folder(*given, scenes / "bf16", steps=4, quiet=True)
    with pytest.raises(ValueError, match="unknown precision 'fp8'; choose fp32 or bf16"):
        walk_folder(*given, scenes / "out", precision="fp8")


def test_walked_maps_of_two_networks_are_not_mixed(network, scenes):
    def walk(run):
        given = (scenes / "images", scenes / "cams", scenes / run, scenes / "out")
        return walk_folder(*given, steps=1, quiet=True)

    (scenes / "run").mkdir()
    save_irn(scenes / "run" / "irn.pt", network, 64)
    assert walk("run").done == 4
    # The same weights in another folder are the same network; other weights, or another crop, are not.
    (scenes / "run").rename(scenes / "moved")
    (scenes / "out" / "a.npz").unlink()
    assert walk("moved").done == 4
    save_irn(scenes / "moved" / "irn.pt", network, 80)
    with pytest.raises(TobiasError, match="choose another folder, or give the settings of this one"):
        walk("moved")
    nn.init.zeros_(network.edge_head.weight)
    save_irn(scenes / "moved" / "irn.pt", network, 64)
    with pytest.raises(TobiasError, match="choose another folder, or give the settings of this one"):
        walk("moved")


class TestTraining:
    @pytest.fixture(autouse=True)
    def _there(self):
        pytest.importorskip("lightning", reason="needs the extra train")

    @pytest.fixture
    def fabric(self):
        from lightning.fabric import Fabric

        return Fabric(accelerator="cpu", devices=1)

    @pytest.fixture
    def train_small(self, scenes, backbone, fabric):
        from tobias_aug.irn import train_irn

        def run(name, **options):
            small = {"batch_size": 2, "crop_size": 64, "radius": 4, "log_every": 1, "checkpoint_every": 2}
            return train_irn(
                fabric, backbone, scenes / "images", scenes / "labels", scenes / name, **{**small, **options}
            )

        return run

    def test_edges_are_learned(self, scenes, train_small):
        network = train_small("run", epochs=40, checkpoint_every=80)
        lines = [json.loads(line) for line in (scenes / "run" / "log.jsonl").read_text().splitlines()]
        assert len(lines) == 80
        assert set(lines[0]) >= {"loss", "positive", "negative", "displacement", "background"}
        assert np.mean([line["loss"] for line in lines[-8:]]) < 0.7 * np.mean([line["loss"] for line in lines[:8]])
        image = torch.from_numpy(np.array(Image.open(scenes / "images" / "a.png"))).permute(2, 0, 1)
        disc = torch.from_numpy(np.array(Image.open(scenes / "labels" / "a.png")))[2::4, 2::4] > 0
        near, far = (nn.functional.max_pool2d(mask[None].float(), 3, 1, 1)[0] > 0 for mask in (disc, ~disc))
        edges = network.edges(image, 64)
        assert edges[near & far].mean() > 2 * edges[~(near & far)].mean()
        # Over the training images, displacements are zero in the mean.
        crops = LabeledCrops(scenes / "images", scenes / "labels", crop_size=64)
        with torch.no_grad():
            mean = network(torch.stack([crops.upper_left(index) for index in range(4)]))[1].mean((0, 2, 3))
        torch.testing.assert_close(mean, torch.zeros(2), atol=1e-4, rtol=0)
        assert network.mean_displacement.abs().max() > 1e-3

    def test_training_resumes_where_it_stopped(self, scenes, backbone, train_small, monkeypatch):
        from tobias_aug.irn import train as irn_train

        whole = train_small("whole", epochs=4)
        # Stopped after five steps, it continues from the checkpoint after four to the same network.
        step, calls = irn_train._Step.__call__, []

        def stops(self, batch):
            calls.append(batch)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return step(self, batch)

        monkeypatch.setattr(irn_train._Step, "__call__", stops)
        with pytest.raises(KeyboardInterrupt):
            train_small("cut", epochs=4)
        assert not (scenes / "cut" / "irn.pt").exists()
        monkeypatch.undo()
        resumed = train_small("cut", epochs=4)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), name
        with pytest.raises(TobiasError, match="choose another folder, or give the settings of this one"):
            train_small("cut", epochs=4, radius=5)
        nn.init.zeros_(backbone.layer1[0].conv1.weight)
        with pytest.raises(TobiasError, match="choose another folder, or give the settings of this one"):
            train_small("cut", epochs=4)

    def test_the_command_line(self, scenes, backbone, monkeypatch, capsys):
        def run(*arguments):
            monkeypatch.setattr(sys, "argv", ["tobias-aug", "orand", *map(str, arguments)])
            with pytest.raises(SystemExit) as left:
                main()
            return left.value.code or 0, capsys.readouterr()

        torch.save({"state_dict": {f"module.{k}": v for k, v in backbone.state_dict().items()}}, scenes / "cls.pth")
        given = (scenes / "images", scenes / "cams")
        options = ("--backbone", "resnet18", "--weights", scenes / "cls.pth", "--workers", 0, "--device", "cpu")
        small = ("--epochs", 1, "--batch-size", 2, "--crop-size", 64, "--low", 0.2, "--high", 0.8)
        status, captured = run("irn-train", *given, "-o", scenes / "run", *options, *small)
        assert status == 0
        assert f"{scenes / 'run'}: a trained network" in captured.out
        network, crop_size = read_irn(scenes / "run" / "irn.pt")
        assert torch.equal(network.stages[0][0].weight, backbone.conv1.weight)

        apply = ("irn-apply", *given, "--run", scenes / "run", "-o", scenes / "out", "--device", "cpu")
        (scenes / "images" / "d.png").unlink()
        status, captured = run(*apply)
        assert status == 1
        assert captured.out.splitlines()[0] == f"{scenes / 'out'}: 3 refined maps"
        image = np.array(Image.open(scenes / "images" / "a.png"))
        expected = walk_class_maps(network, read_class_maps(scenes / "cams" / "a.npz"), image, crop_size=crop_size)
        np.testing.assert_allclose(read_class_maps(scenes / "out" / "a.npz").maps, expected.maps, rtol=1e-6)
        status, captured = run(*apply[:4], scenes / "none", *apply[5:])
        assert status == 2
        assert "run orand irn-train to its end" in captured.err
