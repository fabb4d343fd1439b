"""Every layout of class maps that the field's programs write, by every numpy and Python that wrote them."""

import io
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch

from tobias_aug.class_maps import (
    ClassMaps,
    class_map_files,
    join_by_class,
    read_class_maps,
    read_index_mask,
    write_class_maps,
    write_index_mask,
)

RANDOM = np.random.default_rng(0)
HIGH = RANDOM.random((2, 8, 12), dtype=np.float32)
LOW = RANDOM.random((2, 2, 3), dtype=np.float32)


def write_npy(path, body):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    path.write_bytes(header.getvalue() + body)


def boxed(stored):
    array = np.empty((), dtype=object)
    array[()] = stored
    return array


def by_numpy_now(path, stored):
    np.save(path, boxed(stored))


def by_numpy_1_17(path, stored):
    write_npy(path, pickle.dumps(boxed(stored), protocol=3).replace(b"cnumpy._core.", b"cnumpy.core."))


def by_numpy_1_16(path, stored):
    """Protocol 2, in which Python 3 writes bytes as a call of ``_codecs.encode``."""
    write_npy(path, pickle.dumps(boxed(stored), protocol=2).replace(b"cnumpy._core.", b"cnumpy.core."))


def by_numpy_1_16_0(path, stored):
    """The one release whose pickles name numpy's C module."""
    body = pickle.dumps(boxed(stored), protocol=2)
    write_npy(path, body.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core._multiarray_umath\n"))


class Python2(pickle._Pickler):
    """Text and bytes as Python 2 wrote them: one type, of short or long strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, value):
        data = value.encode("latin-1") if isinstance(value, str) else value
        short = len(data) < 256
        self.write(b"U" + bytes([len(data)]) + data if short else b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_text


def by_python_2(path, stored):
    body = io.BytesIO()
    Python2(body, protocol=2).dump(boxed(stored))
    write_npy(path, body.getvalue().replace(b"cnumpy._core.", b"cnumpy.core."))


WRITERS = [by_numpy_now, by_numpy_1_17, by_numpy_1_16, by_numpy_1_16_0, by_python_2]


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.__name__)
def save(request, tmp_path):
    def save(stored):
        request.param(tmp_path / "image.npy", stored)
        return tmp_path / "image.npy"

    return save


BACKGROUND = 1 - HIGH.max(0, keepdims=True) / 2
SCORES = np.concatenate([BACKGROUND, HIGH])
CRF = (SCORES / SCORES.sum(0)).astype(np.float32)
LAYOUTS = {
    "irn": ({"keys": torch.tensor([3, 14]), "cam": torch.from_numpy(LOW), "high_res": HIGH}, [3, 14], HIGH),
    "irn numbers": ({"keys": [np.int64(3), np.int64(14)], "high_res": HIGH}, [3, 14], HIGH),
    "irn of clip-es": ({"keys": np.array([3, 14]), "attn_highres": HIGH.astype(np.float16)}, [3, 14], HIGH),
    "amn": ({"keys": np.array([3, 14]), "high_res": np.concatenate([BACKGROUND, HIGH])}, [3, 14], HIGH),
    "puzzle": ({"keys": np.array([0, 4, 15]), "cam": torch.from_numpy(LOW), "hr_cam": HIGH}, [3, 14], HIGH),
    "puzzle random walk": ({"keys": np.array([0, 4, 15]), "rw": HIGH}, [3, 14], HIGH),
    "mctformer": ({14: HIGH[1], 3: HIGH[0].astype(np.float64)}, [14, 3], HIGH[::-1]),
    "mctformer first class": ({0: HIGH[0], 14: HIGH[1]}, [0, 14], HIGH),
    "crf": ({0: CRF[0], 4: CRF[1], 15: CRF[2]}, [3, 14], CRF[1:]),
    "crf in half precision": (
        {0: CRF[0].astype(np.float16), 4: CRF[1].astype(np.float16), 15: CRF[2]},
        [3, 14],
        CRF[1:],
    ),
    "crf with keys": ({"keys": np.array([0, 4, 15]), "high_res": CRF}, [3, 14], CRF[1:]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_by_every_writer(save, layout):
    stored, keys, maps = LAYOUTS[layout]
    read = read_class_maps(save(stored))
    assert read.keys.tolist() == keys
    np.testing.assert_allclose(
        read.maps, maps, rtol=0, atol=5e-4 if "half" in layout or layout == "irn of clip-es" else 0
    )
    assert read.metadata["layout"] == layout.split(" ")[0]


WITHOUT = {
    "ids alone": ({"keys": torch.zeros(0, dtype=torch.long)}, (0, 0)),
    "ids alone, an array": ({"keys": np.zeros(0, np.int64)}, (0, 0)),
    "empty lists": ({"keys": [], "cam": [], "high_res": []}, (0, 0)),
    "empty arrays": ({"keys": np.array([]), "cam": np.array([]), "high_res": np.array([])}, (0, 0)),
    "nothing at all": ({"keys": np.zeros(0, np.int64), "cam": None}, (0, 0)),
    "no planes": ({"keys": torch.zeros(0, dtype=torch.long), "high_res": np.zeros((0, 8, 12), np.float32)}, (8, 12)),
    "minus one": ({"keys": np.array([-1]), "attn_highres": np.zeros((1, 8, 12), np.float16)}, (8, 12)),
    "minus one alone": ({"keys": [-1]}, (0, 0)),
    "amn": ({"keys": np.zeros(0, np.int64), "high_res": np.ones((1, 8, 12), np.float32)}, (8, 12)),
    "puzzle": ({"keys": np.array([0]), "hr_cam": np.zeros((0, 8, 12), np.float32)}, (8, 12)),
    "mctformer": ({}, (0, 0)),
    "crf": ({0: np.ones((8, 12), np.float32)}, (8, 12)),
}


@pytest.mark.parametrize("layout", WITHOUT)
def test_an_image_without_a_class_is_read_in_every_layout(save, layout):
    stored, size = WITHOUT[layout]
    read = read_class_maps(save(stored))
    assert read.keys.tolist() == []
    assert read.size == size
    other = ClassMaps(np.array([5]), HIGH[:1])
    keys, left, right = join_by_class(other, read)
    assert (keys.tolist(), right.any()) == ([5], False)
    assert np.array_equal(left, HIGH[:1])


def test_one_map_of_ones_is_irns_first_class(save):
    """A single map that is the same everywhere sums to 1 too; with "keys" there is no background among the ids."""
    assert read_class_maps(save({"keys": [0], "high_res": np.ones((1, 4, 4))})).keys.tolist() == [0]


def test_the_size_that_a_field_has_is_noted(tmp_path):
    by_numpy_now(tmp_path / "image.npy", LAYOUTS["irn"][0])
    assert "stride" not in read_class_maps(tmp_path / "image.npy").metadata
    assert read_class_maps(tmp_path / "image.npy", "cam").metadata["stride"] == 4
    with pytest.raises(
        ValueError, match="field must be one of high_res, hr_cam, attn_highres, highres, rw, cam, got 'x'"
    ):
        read_class_maps(tmp_path / "image.npy", "x")
    with pytest.raises(ValueError, match='no rw beside "keys"; it holds keys, cam, high_res'):
        read_class_maps(tmp_path / "image.npy", "rw")


@pytest.mark.parametrize(
    "tensor",
    [torch.rand(1, 4).expand(6, 4)[None], torch.tensor(0.5).expand(1, 300, 400), torch.rand(2, 1, 1).expand(2, 5, 7)],
    ids=["rows", "number", "planes"],
)
def test_a_tensor_that_repeats_itself_is_read(save, tensor):
    keys = list(range(len(tensor)))
    assert np.array_equal(read_class_maps(save({"keys": keys, "high_res": tensor})).maps, tensor.numpy())


def test_a_memory_map_is_read(save, tmp_path):
    mapped = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(2, 3, 4))
    mapped[:] = RANDOM.random((2, 3, 4))
    assert np.array_equal(read_class_maps(save({"keys": [1, 2], "high_res": mapped})).maps, mapped)


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def expanded(size):
    function, (storage, *_) = torch.rand(1).__reduce_ex__(2)
    return Runs(function, storage, 0, size, (0,) * len(size), False, {})


@pytest.mark.parametrize(
    ("evil", "reason"),
    [
        (expanded((1, 1 << 20, 1 << 20)), r"asks for a tensor of \(1, 1048576, 1048576\) that repeats 1 numbers"),
        (Runs(__import__("_codecs").encode, "text", "rot13"), r"asks for _codecs.encode to 'rot13'"),
        (Runs(bytes, 1 << 40), r"asks for builtins.bytes|is damaged"),
    ],
    ids=["bomb", "codec", "bytes"],
)
def test_what_was_admitted_is_admitted_for_arrays_alone(tmp_path, evil, reason):
    for writer in (by_numpy_now, by_numpy_1_16):
        writer(tmp_path / "image.npy", {"keys": [1], "high_res": evil})
        with pytest.raises(ValueError, match=reason):
            read_class_maps(tmp_path / "image.npy")


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_paths_are_text_or_paths(tmp_path, kind):
    maps = ClassMaps(np.array([3, 14]), HIGH)
    write_class_maps(kind(tmp_path / "a.npz"), maps)
    assert np.array_equal(read_class_maps(kind(tmp_path / "a.npz")).maps, HIGH)
    assert list(class_map_files(kind(tmp_path))) == ["a"]
    write_index_mask(kind(tmp_path / "m.png"), np.eye(3, dtype=np.uint8))
    assert np.array_equal(read_index_mask(kind(tmp_path / "m.png")), np.eye(3))


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "LA"])
def test_a_mask_of_one_number_per_pixel_is_read_in_any_mode(tmp_path, mode):
    from PIL import Image

    numbers = np.eye(5, 7, dtype=np.uint8) * (1 if mode == "1" else 200)
    image = Image.fromarray(numbers.astype(bool) if mode == "1" else numbers)
    if mode == "I;16":
        image = Image.fromarray(numbers.astype(np.uint16))
    elif mode in ("P", "LA"):
        image = image.convert("L").convert(mode) if mode == "LA" else image
        if mode == "P":
            image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as stored:
        assert stored.mode == mode
    assert np.array_equal(read_index_mask(tmp_path / "m.png"), numbers)


@pytest.mark.parametrize("kind", ["large", "transparent", "color"])
def test_other_masks_are_rejected(tmp_path, kind):
    from PIL import Image

    made = {
        "large": lambda: Image.fromarray(np.full((3, 4), 256, np.uint16)),
        "transparent": lambda: Image.new("LA", (4, 3), (7, 100)),
        "color": lambda: Image.new("RGB", (4, 3), (7, 7, 7)),
    }
    made[kind]().save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=r"m.png is an image of mode .*; an index mask has class numbers as pixels"):
        read_index_mask(tmp_path / "m.png")
