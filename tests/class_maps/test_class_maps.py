"""Files of class maps and index masks, written here exactly as the field's own programs write them."""

import io
import os
import pickle

import numpy as np
import pytest
import torch

from tobias_aug.class_maps import (
    ClassMaps,
    class_map_files,
    join_by_class,
    read_class_maps,
    write_class_maps,
)

RANDOM = np.random.default_rng(0)
HIGH = RANDOM.random((2, 8, 12), dtype=np.float32)
LOW = RANDOM.random((2, 2, 3), dtype=np.float32)


def npy_of_numpy_1(path, stored):
    """What numpy 1.x saved: pickle protocol 3, in which its module is still called numpy.core."""
    array = np.empty((), dtype=object)
    array[()] = stored
    body = pickle.dumps(array, protocol=3)
    renamed = body.replace(b"cnumpy._core.", b"cnumpy.core.")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    path.write_bytes(header.getvalue() + renamed)
    return renamed != body


@pytest.fixture(params=["numpy now", "numpy 1"])
def save(request, tmp_path):
    def save(stored):
        path = tmp_path / "image.npy"
        if request.param == "numpy now":
            np.save(path, stored)
        else:
            npy_of_numpy_1(path, stored)
        return path

    return save


def test_irn(save):
    stored = {"keys": torch.tensor([3, 14]), "cam": torch.from_numpy(LOW), "high_res": HIGH}
    path = save(stored)
    read = read_class_maps(path)
    assert read.keys.tolist() == [3, 14]
    assert np.array_equal(read.maps, HIGH)
    assert read.metadata == {"layout": "irn", "field": "high_res"}
    assert np.array_equal(read_class_maps(path, "cam").maps, LOW)


def test_amn_loses_its_background_plane(save):
    planes = np.concatenate([np.ones((1, 8, 12), np.float32), HIGH])
    path = save({"keys": np.array([0, 19]), "cam": torch.rand(3, 2, 3), "high_res": planes})
    read = read_class_maps(path)
    assert read.keys.tolist() == [0, 19]
    assert np.array_equal(read.maps, HIGH)
    assert read.metadata["layout"] == "amn"


def test_mctformer(save):
    read = read_class_maps(save({14: HIGH[1], np.int64(3): HIGH[0].astype(np.float64)}))
    assert read.keys.tolist() == [14, 3]
    assert np.array_equal(read.maps, HIGH[::-1])
    assert read.metadata["layout"] == "mctformer"


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(2, 4, 4).half(),
        torch.rand(2, 4, 4).bfloat16(),
        torch.rand(4, 4, 2).permute(2, 0, 1),
        torch.rand(5, 4, 4)[1:3],
        torch.nn.Parameter(torch.rand(2, 4, 4)),
        torch.rand(2, 4, 4, dtype=torch.float64, requires_grad=True),
    ],
    ids=["half", "bfloat16", "strided", "offset", "parameter", "double"],
)
def test_any_tensor_is_read(save, tensor):
    read = read_class_maps(save({"keys": torch.tensor([1, 0]), "high_res": tensor}))
    assert np.array_equal(read.maps, tensor.detach().float().numpy())


def test_lists_and_fortran_arrays_are_read(save):
    read = read_class_maps(save({"keys": [3, 14], "high_res": np.asfortranarray(HIGH)}))
    assert np.array_equal(read.maps, HIGH)


def test_an_image_without_a_class_is_read(save):
    read = read_class_maps(save({"keys": np.empty(0, np.int64), "high_res": np.empty((0, 8, 12), np.float32)}))
    assert (read.maps.shape, read.size) == ((0, 8, 12), (8, 12))


def test_large_maps_are_read_and_may_be_written_to(save):
    maps = RANDOM.random((3, 200, 300), dtype=np.float32)
    path = save({"keys": [3, 5, 7], "cam": maps[:, ::4, ::4], "high_res": maps, "more": list(range(1000))})
    for field, expected in (("high_res", maps), ("cam", maps[:, ::4, ::4])):
        read = read_class_maps(path, field).maps
        assert np.array_equal(read, expected)
        read += 1
        assert np.array_equal(read_class_maps(path, field).maps, expected)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="image.npy is damaged .EOFError: 720000 bytes are announced"):
        read_class_maps(path)


def test_a_size_beyond_the_file_takes_no_memory(tmp_path):
    path = tmp_path / "image.npy"
    np.save(path, {})
    path.write_bytes(path.read_bytes()[:128] + b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little") + b"bytes.")
    with pytest.raises(ValueError, match=f"image.npy is damaged .EOFError: {1 << 60} bytes are announced, 6 are"):
        read_class_maps(path)


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def forged_dtype():
    """An object dtype whose flags deny that it holds objects: numpy takes the bytes of such an array as pointers."""
    dtype = np.dtype("O8")
    state = (3, "|", None, None, None, -1, -1, 0)
    return Runs(np.ndarray, (1,), Runs2(dtype, state), b"AAAAAAAA")


class Runs2:
    def __init__(self, dtype, state):
        self.state = state

    def __reduce__(self):
        return np.dtype, ("O8", False, True), self.state


def inner_pickle():
    """A tensor's storage whose own bytes are a pickle that runs code."""
    bytes_ = io.BytesIO()
    torch.save(Runs(os.mkdir, "ran"), bytes_, _use_new_zipfile_serialization=False)
    return Runs(torch.storage._load_from_bytes, bytes_.getvalue())


@pytest.mark.parametrize(
    ("evil", "name"),
    [
        (Runs(os.mkdir, "ran"), r"posix\.mkdir|nt\.mkdir"),
        (Runs(eval, "__import__('os').mkdir('ran')"), r"builtins\.eval"),
        (Runs(np.load, "x.npy", None, True), r"numpy\.load"),
        (Runs(torch.load, "x.pth"), r"torch\.serialization\.load"),
        (Runs(getattr, "text", "title"), r"builtins\.getattr"),
    ],
    ids=["os", "eval", "numpy.load", "torch.load", "getattr"],
)
def test_a_pickle_that_would_run_code_is_rejected_by_name(save, tmp_path, monkeypatch, evil, name):
    monkeypatch.chdir(tmp_path)
    path = save({"keys": [1], "high_res": evil})
    with pytest.raises(ValueError, match=f"asks for ({name}) when it is unpickled.*nothing of it was run. Convert"):
        read_class_maps(path)
    assert [file.name for file in tmp_path.iterdir()] == ["image.npy"]


@pytest.mark.parametrize("evil", [inner_pickle, forged_dtype], ids=["storage", "dtype"])
def test_what_numpy_and_torch_would_believe_is_not_believed(save, tmp_path, monkeypatch, evil):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="image.npy"):
        read_class_maps(save({"keys": [1], "high_res": evil()}))
    assert [file.name for file in tmp_path.iterdir()] == ["image.npy"]


def test_a_tensor_larger_than_its_storage_is_rejected(save):
    function, (storage, *_) = torch.rand(4).__reduce_ex__(2)
    forged = Runs(function, storage, 0, (1, 400, 400), (160000, 400, 1), False, {})
    with pytest.raises(ValueError, match="is damaged .*out of bounds"):
        read_class_maps(save({"keys": [1], "high_res": forged}))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"keys": [1]}, 'no high_res or cam beside "keys"'),
        ({"keys": [1, 2, 3], "cam": LOW}, r"3 class ids do not fit cam of shape \(2, 2, 3\)"),
        ({"keys": [1.5, 2.0], "cam": LOW}, "class ids must be whole numbers, got float64"),
        ({"keys": [2, 2], "cam": LOW}, r"class ids must be 0 or more and different, got \[2, 2\]"),
        ({"keys": [-1, 2], "cam": LOW}, r"class ids must be 0 or more and different"),
        ({"keys": [1, 2], "cam": LOW * np.nan}, "the maps hold NaN or infinity"),
        ({"cat": LOW[0]}, "unknown layout with 'cat'; expected keys, cam, high_res"),
        ({0: LOW[0], 1: HIGH[0]}, "expected maps .height, width. of one size"),
        ([LOW], "holds a list; expected a dictionary"),
    ],
)
def test_what_does_not_fit_is_rejected(tmp_path, stored, message):
    array = np.empty((), dtype=object)
    array[()] = stored
    np.save(tmp_path / "image.npy", array)
    with pytest.raises(ValueError, match=f"image.npy.*{message}"):
        read_class_maps(tmp_path / "image.npy")


def test_other_files_are_rejected(tmp_path):
    np.save(tmp_path / "plain.npy", HIGH)
    with pytest.raises(ValueError, match="plain.npy holds an array of float32, .2, 8, 12., without class ids"):
        read_class_maps(tmp_path / "plain.npy")
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(ValueError, match="text.npy is not a .npy file"):
        read_class_maps(tmp_path / "text.npy")
    np.save(tmp_path / "header.npy", {"keys": [1, 2], "cam": LOW})
    (tmp_path / "header.npy").write_bytes((tmp_path / "header.npy").read_bytes().replace(b"'}", b"'{"))
    np.save(tmp_path / "cut.npy", {"keys": [1, 2], "cam": LOW})
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-40])
    with pytest.raises(ValueError, match="cut.npy is damaged"):
        read_class_maps(tmp_path / "cut.npy")
    np.savez(tmp_path / "other.npz", a=HIGH)
    with pytest.raises(ValueError, match="other.npz holds no class maps of this library"):
        read_class_maps(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match="no class maps at"):
        read_class_maps(tmp_path / "none.npy")


@pytest.mark.parametrize("extension", [".npz", ".safetensors"])
def test_our_own_files_come_back_with_their_metadata(tmp_path, extension):
    if extension == ".safetensors":
        pytest.importorskip("safetensors", reason="needs safetensors")
    path = tmp_path / f"image{extension}"
    about = {"stage": "or", "thresholds": {"low": 0.05}, "ground_truth_labels": True, "made_by": "a test"}
    write_class_maps(path, ClassMaps(np.array([14, 3]), HIGH, about))
    read = read_class_maps(path)
    assert read.keys.tolist() == [14, 3]
    assert np.array_equal(read.maps, HIGH)
    assert read.metadata == about
    write_class_maps(path, ClassMaps(np.array([14, 3]), HIGH))
    assert read_class_maps(path).metadata == {"stage": None, "thresholds": None, "ground_truth_labels": None}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ValueError, match="expected a name ending in .npz or .safetensors, got image.npy"):
        write_class_maps(tmp_path / "image.npy", read)


def test_maps_are_joined_by_class_and_a_missing_one_is_zero():
    first = ClassMaps(np.array([7, 2]), HIGH)
    second = ClassMaps(np.array([2, 9]), HIGH + 1)
    keys, left, right = join_by_class(first, second)
    assert keys.tolist() == [2, 7, 9]
    zero = np.zeros((8, 12), np.float32)
    assert np.array_equal(left, [HIGH[1], HIGH[0], zero])
    assert np.array_equal(right, [HIGH[0] + 1, zero, HIGH[1] + 1])
    with pytest.raises(ValueError, match="differ in size: 8 x 12 and 2 x 3; resize one of them"):
        join_by_class(first, ClassMaps(np.array([2, 9]), LOW))


def test_a_folder_lists_its_files_by_name(tmp_path):
    for name in ("b.npz", "a.npy", "a.png", ".b.npz.1.tmp"):
        (tmp_path / name).touch()
    assert list(class_map_files(tmp_path)) == ["a", "b"]
    (tmp_path / "b.npy").touch()
    with pytest.raises(ValueError, match="b.npy and b.npz are of one image; keep one of them"):
        class_map_files(tmp_path)
    with pytest.raises(ValueError, match="nowhere is not a folder; give a folder with .npz"):
        class_map_files(tmp_path / "nowhere")
