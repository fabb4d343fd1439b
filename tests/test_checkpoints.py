import argparse
import collections
import datetime
import functools
import gzip
import os
import pickle
import re
import sys
import tarfile
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from tobias_aug import RandomCNN
from tobias_aug.checkpoints import common_prefix, load_weights, read_checkpoint
from tobias_aug.localization.cam import CAM


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(3)
    network = torchvision.models.resnet18(num_classes=7).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean)
    return network


@pytest.fixture(scope="module")
def images():
    return torch.randint(256, (3, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def normalised(images):
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images / 255 - mean[:, None, None]) / deviation[:, None, None]


def features_of(network, images):
    body = nn.Sequential(*list(network.children())[:-2])
    with torch.no_grad():
        return body(normalised(images))


def write_plain(network, path):
    torch.save(network.state_dict(), path)


def write_moco(network, path):
    state = network.state_dict()
    named = {f"module.encoder_q.{name}": value for name, value in state.items()}
    named |= {f"module.encoder_k.{name}": torch.zeros_like(value) for name, value in state.items()}
    torch.save({"epoch": 5, "arch": "resnet18", "state_dict": named | {"module.queue": torch.zeros(8, 16)}}, path)


def write_safetensors(network, path):
    pytest.importorskip("safetensors.torch").save_file(network.state_dict(), path)


@pytest.mark.parametrize(
    ("write", "name"), [(write_plain, "a.pth"), (write_moco, "b.pth.tar"), (write_safetensors, "c.safetensors")]
)
def test_own_weights_give_the_trained_networks_features(trained, images, tmp_path, write, name):
    write(trained, tmp_path / name)
    cnn = RandomCNN("resnet18", weights=tmp_path / name)
    torch.testing.assert_close(cnn.features(images), features_of(trained, images), rtol=1e-4, atol=1e-4)
    assert sorted(cnn.unused) == ["fc.bias", "fc.weight"]
    assert cnn.identity()["weights"] == RandomCNN("resnet18", weights=trained.state_dict()).identity()["weights"]
    assert cnn.identity()["weights"] != RandomCNN("resnet18").identity()["weights"]
    assert "own weights" in repr(cnn)


def test_rows_of_the_paper_take_torchvisions_checkpoints():
    torch.manual_seed(0)
    for row, whole in [("r50-conv1-3", torchvision.models.resnet50()), ("vgg11", torchvision.models.vgg11())]:
        state = whole.state_dict()
        cnn = RandomCNN(row, weights=state)
        for name, value in cnn.network.state_dict().items():
            assert torch.equal(value, state[name]), (row, name)


def test_a_vits_checkpoint_fits():
    torch.manual_seed(0)
    state = torchvision.models.vit_b_16().state_dict()
    cnn = RandomCNN("vit-b16", weights=state)
    assert torch.equal(cnn.network.state_dict()["encoder.pos_embedding"], state["encoder.pos_embedding"])
    assert "heads.head.weight" in cnn.unused


def test_what_does_not_fit_is_named(trained, tmp_path):
    state = dict(trained.state_dict())
    del state["layer3.0.conv1.weight"]
    with pytest.raises(ValueError, match=r"the state dict does not fit the network: layer3\.0\.conv1\.weight missing"):
        RandomCNN("resnet18", weights=state)
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight \(64, 64, 3, 3\) instead of \(64, 64, 1, 1\)"):
        RandomCNN(
            "resnet50",
            weights=torchvision.models.resnet50().state_dict() | {"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)},
        )
    write_plain(nn.Linear(2, 2), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth does not fit the network: conv1\.weight, .* and \d+ more missing"):
        RandomCNN("resnet18", weights=tmp_path / "other.pth")


def small(prefix="", seed=0):
    """The state of a tiny network, whose names any prefix can precede."""
    torch.manual_seed(seed)
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    return {f"{prefix}{name}": value for name, value in state.items()}


class Options:
    """A class that no reader knows, as training scripts put into their checkpoints."""

    def __init__(self):
        self.depth = 3


class Settings(dict):
    """A dictionary of its own class, as configuration libraries make them."""


BESIDE = {
    "argparse": argparse.Namespace(lr=0.1, nested=argparse.Namespace(path=Path("x"))),
    "a NumPy number": np.float64(76.5),
    "a NumPy array": np.arange(3),
    "a path": Path("runs") / "one",
    "an optimizer's class": torch.optim.SGD,
    "a function": torch.nn.functional.relu,
    "an enumeration": torchvision.models.ResNet50_Weights.DEFAULT,
    "a class of one's own": Options(),
    "a dictionary of one's own": Settings(lr=0.1),
    "a default dictionary": collections.defaultdict(list, a=[1, {2, 3}]),
    "keys of any kind": {Path("a"): 1, np.int64(3): 2, (1, 2): 3},
    "a date": datetime.datetime(2020, 1, 1),
    "a device, a size, a dtype": [torch.device("cpu"), torch.Size([1]), torch.bfloat16],
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("beside", BESIDE)
def test_what_lies_beside_the_tensors_is_passed_over(tmp_path, beside, legacy):
    state = small()
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    stored = {"epoch": 3, "beside": BESIDE[beside], "state_dict": state, "optimizer": optimizer}
    torch.save(stored, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    read = read_checkpoint(tmp_path / "a.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], value) for name, value in state.items())


LAYOUTS = {
    "DINO": ({"student": small("module.backbone."), "teacher": small("backbone.", 1)}, "student.module.backbone."),
    "BYOL": ({"online_network_state_dict": small("encoder.")}, "online_network_state_dict.encoder."),
    "VISSL": (
        {"classy_state_dict": {"base_model": {"model": {"trunk": small("_feature_blocks.")}}}},
        "classy_state_dict.base_model.model.trunk._feature_blocks.",
    ),
    "timm with averages": ({"state_dict": small(), "state_dict_ema": small(seed=1)}, "state_dict."),
    "DeiT": ({"model": small(), "model_ema": small(seed=1), "args": argparse.Namespace()}, "model."),
    "DeepSpeed": ({"module": small(), "optimizer": None}, "module."),
    "MAE": ({"model": small(), "args": argparse.Namespace(), "scaler": {"scale": 65536.0}}, ""),
    "Lightning": ({"state_dict": small("backbone."), "hyper_parameters": {"optimizer": torch.optim.SGD}}, "backbone."),
    "wrapped twice": ({"model": {"state_dict": small()}}, ""),
    "a metric beside": ({"state_dict": small(), "best_acc1": torch.tensor(76.5)}, ""),
    "a loss with a center": ({"model": small(), "loss": {"center": torch.zeros(3)}}, ""),
    "compiled and parallel": (small("module._orig_mod."), "module._orig_mod."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_training_scripts_are_read(tmp_path, layout):
    stored, prefix = LAYOUTS[layout]
    torch.save(stored, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    expected = small()
    assert all(torch.equal(read[prefix + name], value) for name, value in expected.items())
    for given in (tmp_path / "a.pth", stored):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        assert load_weights(network, given) == []
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_a_prefix_chooses_among_several_networks(tmp_path):
    torch.save(LAYOUTS["DINO"][0], tmp_path / "dino.pth")
    read = read_checkpoint(tmp_path / "dino.pth", "teacher.backbone.")
    assert all(torch.equal(read[name], value) for name, value in small(seed=1).items())
    assert read.keys() == small().keys()
    with pytest.raises(ValueError, match=r"dino.pth holds no tensors under the prefix 'teacher.head.'"):
        read_checkpoint(tmp_path / "dino.pth", "teacher.head.")


def test_a_whole_network_gives_its_state_dict(tmp_path):
    network = torchvision.models.resnet18(num_classes=3)
    for name, legacy in (("new.pth", False), ("old.pth", True)):
        torch.save({"epoch": 1, "ema": network}, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        read = read_checkpoint(tmp_path / name, "ema.")
        assert read.keys() == network.state_dict().keys()
        assert all(torch.equal(read[key], value) for key, value in network.state_dict().items())


def test_a_checkpoint_of_lightning_is_read(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Model(lightning.LightningModule):
        def __init__(self, options, rate, folder, optimizer):
            super().__init__()
            self.save_hyperparameters()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

        def training_step(self, batch, _):
            return self.backbone(batch).mean()

        def configure_optimizers(self):
            return self.hparams.optimizer(self.parameters(), lr=float(self.hparams.rate))

    model = Model(argparse.Namespace(a=1), np.float64(0.1), tmp_path, torch.optim.SGD)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(model, torch.utils.data.DataLoader(torch.rand(2, 3, 8, 8), batch_size=2))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    read = read_checkpoint(tmp_path / "last.ckpt")
    assert read.keys() == model.state_dict().keys()
    assert all(torch.equal(read[name], value) for name, value in model.state_dict().items())


class Call:
    """What asks its reader to call a function."""

    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


def attacks(mark):
    code = f"open({str(mark)!r}, 'w')"
    return {
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "system": Call(os.system, f"touch {mark}"),
        "open": Call(open, str(mark), "w"),
        "touch": Call(Path.touch, mark),
        "import": Call(__import__, "antigravity"),
        "torch.save": Call(torch.save, 1, str(mark)),
        "partial": Call(functools.partial, eval, code),
        "through an attribute": Call(getattr, Call(__import__, "os"), "system"),
        "in a tensor's place": Call(torch._utils._rebuild_parameter, Call(eval, code), False, {}),
        "as a default": collections.defaultdict(functools.partial(open, str(mark), "w")),
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("attack", attacks("mark"))
def test_nothing_of_a_checkpoint_is_run(tmp_path, monkeypatch, capfd, attack, legacy):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    # As a value, as a key's neighbour, and as the state of an object.
    given = attacks(tmp_path / "mark")[attack]
    holder = Options()
    holder.state = given
    stored = {"args": given, "list": [holder], "state_dict": small()}
    torch.save(stored, tmp_path / "in" / "trap.pth", _use_new_zipfile_serialization=not legacy)
    before = {*sys.modules}
    read = read_checkpoint(tmp_path / "in" / "trap.pth")
    assert read.keys() == small().keys()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert "antigravity" not in {*sys.modules} - before
    assert capfd.readouterr() == ("", "")


class Module:
    dump_patches = True


def test_no_source_is_compared_and_no_patch_written(tmp_path, monkeypatch):
    # torch's old layout keeps the source of classes, and writes a patch where it differs and the class asks for it.
    monkeypatch.chdir(tmp_path)
    torch.save({"model": nn.Linear(2, 2)}, "old.pth", _use_new_zipfile_serialization=False)
    changed = Path("old.pth").read_bytes().replace(b"class Linear(Module)", b"class Linaer(Module)")
    Path("old.pth").write_bytes(changed)
    assert read_checkpoint("old.pth").keys() == {"weight", "bias"}
    assert [path.name for path in Path().iterdir()] == ["old.pth"]


def test_tensors_are_known_by_their_bounds(tmp_path):
    # A size beyond the storage would read foreign memory.
    storage = torch.arange(4.0).untyped_storage()
    forged = Call(torch._utils._rebuild_tensor_v2, torch.arange(4.0)._typed_storage(), 0, (1000,), (1,), False, {})
    torch.save({"state_dict": {"a": forged}, "args": Options()}, tmp_path / "a.pth")
    assert storage.nbytes() == 16
    with pytest.raises(ValueError, match="a.pth is cut or damaged"):
        read_checkpoint(tmp_path / "a.pth")


def whole(name, tmp_path):
    """A good file of each kind."""
    path = tmp_path / name
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors.torch").save_file(small(), path)
    else:
        beside = Options() if "args" in name else None
        torch.save(
            {"state_dict": small(), "args": beside, "padding": torch.zeros(5000)},
            path,
            _use_new_zipfile_serialization="old" not in name,
        )
    return path


@pytest.mark.parametrize("name", ["new.pth", "new-args.pth", "old.pth", "old-args.pth", "a.safetensors"])
@pytest.mark.parametrize("share", [0, 0.001, 0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_cut_file_is_said_to_be_damaged(tmp_path, name, share):
    path = whole(name, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"{name} is (empty; copy|cut or damaged|no checkpoint)") as raised:
        read_checkpoint(path)
    assert "more than tensors" not in str(raised.value)
    assert "\n" not in str(raised.value)


OTHER_FILES = {
    "noise": (np.random.default_rng(0).bytes(5000), "is no checkpoint: neither safetensors nor what torch.save writes"),
    "text": (b"epoch,loss\n1,0.5\n", "is no checkpoint: neither"),
    "gzip": (gzip.compress(b"weights"), "compressed by gzip; unpack it first"),
    "web page": (b"\n<!DOCTYPE html><html>quota exceeded</html>", "a web page or XML, so the download"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "pickle": (pickle.dumps({"a": 1}), "a plain pickle; save the network's state_dict"),
    "a trap": (pickle.dumps(Call(print, "run")), "a plain pickle; save the network's state_dict"),
    "a cut pickle": (pickle.dumps(list(range(100)))[:50], "a plain pickle; it is cut or damaged too"),
    "detectron2": (
        pickle.dumps({"model": {"backbone.bottom_up.res2.0.conv1.weight": np.zeros(2)}, "__author__": "somebody"}),
        "in detectron2's own layout, which is ready: give it as MODEL.WEIGHTS",
    ),
    "the zoo": (pickle.dumps({"conv1_w": 0, "res2_0_branch2a_w": np.zeros(2)}, 2), "give it as MODEL.WEIGHTS"),
}


@pytest.mark.parametrize("ending", ["pth", "pkl", "safetensors"])
@pytest.mark.parametrize("kind", OTHER_FILES)
def test_other_files_are_named(tmp_path, kind, ending, capsys):
    content, message = OTHER_FILES[kind]
    (tmp_path / f"a.{ending}").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_checkpoint(tmp_path / f"a.{ending}")
    assert capsys.readouterr().out == ""


def test_archives_that_are_no_checkpoint_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="a.npz is no checkpoint but a zip archive of something else"):
        read_checkpoint(tmp_path / "a.npz")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.npz", "a.npz")
    with pytest.raises(ValueError, match="a.tar is no checkpoint but a tar archive; unpack it"):
        read_checkpoint(tmp_path / "a.tar")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(
        ValueError, match=r"a.pt is a TorchScript archive, which holds code; save the network's state_dict"
    ):
        read_checkpoint(tmp_path / "a.pt")


def test_what_is_no_file_is_explained(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(ValueError, match=r"is a folder; give the file in it that holds the weights"):
        read_checkpoint(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(small(), tmp_path / "a.pth")
    assert read_checkpoint("~/a.pth").keys() == small().keys()
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    for name in ("DEFAULT", "IMAGENET1K_V2", "ResNet50_Weights.DEFAULT", "ResNet50_Weights.IMAGENET1K_V1"):
        for make in (RandomCNN, CAM):
            with pytest.raises(
                ValueError, match=rf"{name} names a download of torchvision's, and nothing is downloaded"
            ):
                make("resnet18", weights=name)
    for make in (RandomCNN, CAM):
        with pytest.raises(TypeError, match=r"got .*ResNet50_Weights; give the state dict itself, as .*state_dict\(\)"):
            make("resnet18", weights=torchvision.models.ResNet50_Weights.DEFAULT)
        with pytest.raises(TypeError, match=r"got .*Linear; give its state_dict\(\)"):
            make("resnet18", weights=nn.Linear(2, 2))


def test_a_checkpoint_without_tensors_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "args": Options()}, tmp_path / "empty.pth")
    with pytest.raises(
        ValueError, match=r"empty.pth holds no tensors, at its top or .* below it; it holds epoch, args"
    ):
        read_checkpoint(tmp_path / "empty.pth")


def test_torchs_own_ban_is_named(tmp_path, monkeypatch):
    torch.save({"state_dict": small(), "args": Options()}, tmp_path / "a.pth")
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(ValueError, match=r"which TORCH_FORCE_WEIGHTS_ONLY_LOAD forbids to read; unset it"):
        read_checkpoint(tmp_path / "a.pth")


def test_the_prefix_is_where_most_names_fit():
    names = ["conv1.weight", "layer1.conv1.weight", "fc.weight"]
    assert common_prefix(names, ["a.layer1.conv1.weight", "a.fc.weight", "b.conv1.weight"]) == "a."
    assert common_prefix(names, ["b.conv1.weight", "a.conv1.weight"]) == "b."
    assert common_prefix(names, ["other"]) == ""


def test_old_checkpoints_without_batch_counters_load(trained):
    old = {name: value for name, value in trained.state_dict().items() if "num_batches" not in name}
    fresh = torchvision.models.resnet18(num_classes=7)
    assert load_weights(fresh, old) == []
    assert torch.equal(fresh.layer4[1].conv2.weight, trained.layer4[1].conv2.weight)


def test_cam_is_the_features_weighted_by_the_classifiers_row(trained, images):
    cam = CAM("resnet18", weights=trained.state_dict())
    features = features_of(trained, images)
    classes = torch.tensor([6, 0, 3])
    expected = torch.stack(
        [sum(trained.fc.weight[k, c] * maps[c] for c in range(512)) for maps, k in zip(features, classes, strict=True)]
    )
    torch.testing.assert_close(cam.heatmaps(images, classes), expected.detach(), rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        seen = trained(normalised(images)).argmax(1)
    assert torch.equal(cam.heatmaps(images), cam.heatmaps(images, seen))
    assert cam.cell_scores(images).shape == (3, 4, 4)
    assert cam.heatmaps(images[:0]).shape == (0, 7, 7)


def test_an_untrained_cam_is_its_seeds():
    first, again, other = CAM("resnet18", 1), CAM("resnet18", 1), CAM("resnet18", 2)
    assert first.identity() == again.identity() != other.identity()
    assert pickle.loads(pickle.dumps(first)).identity() == first.identity()


def test_cam_without_a_linear_classifier_on_the_features_is_refused():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"CAM needs one linear classifier on 512 channels .* classifier\.0\.weight"):
        CAM("vgg11", weights=torchvision.models.vgg11().state_dict())


def test_inception_checkpoints_see_the_input_they_were_trained_on():
    torch.manual_seed(0)
    inception = torchvision.models.inception_v3(init_weights=False).eval()
    inception.transform_input = True
    images = torch.randint(256, (1, 3, 224, 224), dtype=torch.uint8)
    seen = []
    inception.Mixed_7c.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        inception(normalised(images))
    cnn = RandomCNN("inception", weights=inception.state_dict())
    torch.testing.assert_close(cnn.features(images), seen[0], rtol=1e-3, atol=1e-4)
