"""Files that are forged, damaged, or no checkpoint at all."""

import collections
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

from tests.weights.test_checkpoint_layouts import Options, small
from tobias_aug import RandomCNN
from tobias_aug.localization import CAM
from tobias_aug.weights.checkpoints import common_prefix, read_checkpoint


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
    # As a value, as a key's neighbor, and as the state of an object.
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
    forged = Call(torch._utils._rebuild_tensor_v2, torch.arange(4.0)._typed_storage(), 0, (1000,), (1,), False, {})
    torch.save({"state_dict": {"a": forged}, "args": Options()}, tmp_path / "a.pth")
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


@pytest.mark.parametrize("name", ["new.pth", "new-args.pth", "old.pth", "old-args.pth", "a.safetensors"])
def test_changed_bytes_are_read_or_said_to_be_damage(tmp_path, name):
    path = whole(name, tmp_path)
    content = path.read_bytes()
    # Most of a file is padding; its beginning and its end say what it holds.
    places = [*range(0, 300, 2), *range(len(content) - 600, len(content), 2)]
    random = np.random.default_rng(0)
    messages = []
    for place in places:
        changed = bytearray(content)
        changed[place] ^= int(random.integers(1, 256))
        path.write_bytes(changed)
        try:
            read_checkpoint(path)
        except ValueError as error:
            messages.append(str(error))
    assert messages
    assert [text for text in messages if not text.startswith(f"{path} ")] == []


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
