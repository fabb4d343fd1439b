"""A user's dataset: what counts as an image, what as damage, and what as a dataset of the wrong sort."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from torchvision.io import decode_jpeg
from torchvision.transforms import v2

from tobias_aug import ImageError, build_masks
from tobias_aug.errors import SampleError, TobiasError
from tobias_aug.images import ImageFiles, as_source
from tobias_aug.images.datasets import DatasetImages

RED = Image.new("RGB", (4, 5), (200, 10, 20))
TENSOR = torch.full((3, 5, 4), 7, dtype=torch.uint8)


def png(image=RED):
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


ACCEPTED = {
    "image": RED,
    "gray": RED.convert("L"),
    "tuple": (RED, 3, "name.png"),
    "list": [RED, 3],
    "tensor": TENSOR,
    "dict": {"image": RED, "label": 3},
    "dict by its only image": {"img": RED, "label": 3},
    "dict with a mask": {"image": RED, "mask": RED.convert("L")},
    "dict of tensors": {"image": TENSOR},
    "undecoded": {"image": {"bytes": png(), "path": None}, "label": 3},
}
WRONG = {
    "float tensor": (TENSOR / 255, r"a tensor of torch.float32, \(3, 5, 4\)"),
    "int64 tensor": (TENSOR.long(), "a tensor of torch.int64"),
    "MNIST after ToTensor": ((torch.zeros(1, 28, 28), 7), r"a tensor of torch.float32, \(1, 28, 28\)"),
    "gray uint8": (TENSOR[:1], r"a tensor of torch.uint8, \(1, 5, 4\)"),
    "a batch": (TENSOR[None], r"a tensor of torch.uint8, \(1, 3, 5, 4\)"),
    "ndarray": (np.zeros((5, 4, 3), np.uint8), r"ndarray of uint8, \(5, 4, 3\)"),
    "path": ("x.jpg", "got str"),
    "dict without an image": ({"pixels": 3, "label": 4}, "dict of pixels, label, none of them called image"),
    "dict of two images": ({"a": RED, "b": RED}, "dict of a, b"),
    "nothing in a tuple": ((), "got tuple"),
    "views": (([RED, RED], 0), "got list"),
}


@pytest.mark.parametrize("sample", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_an_image(sample):
    loaded = DatasetImages([sample]).load(0)
    assert loaded is TENSOR or (loaded.mode == "RGB" and loaded.size == (4, 5))


@pytest.mark.parametrize(("sample", "came"), WRONG.values(), ids=WRONG.keys())
def test_the_wrong_sort_of_sample_is_told_from_damage(sample, came):
    with pytest.raises(TypeError, match=f"{came}.*; masks are made before any augmentation: give") as error:
        DatasetImages([sample]).load(0)
    assert isinstance(error.value, SampleError)
    assert isinstance(error.value, TobiasError)
    assert not isinstance(error.value, (ImageError, OSError))


class Reading(Dataset):
    """Reads its only sample by a function, as a user's dataset does."""

    def __init__(self, read):
        self.read = read

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.read()


def cut(kind):
    file = io.BytesIO()
    Image.effect_noise((90, 80), 60).convert("RGB").save(file, kind)
    data = bytearray(file.getvalue())
    # A PNG of a broken chunk raises SyntaxError in Pillow, a JPEG without its end OSError.
    data[60:90] = bytes(30)
    return bytes(data[: len(data) // 2])


DAMAGE = {
    "None": lambda: None,
    "None in a dict": lambda: {"image": None, "label": 1},
    "null bytes": lambda: {"image": {"bytes": None, "path": None}},
    "damaged bytes": lambda: {"image": {"bytes": b"no image", "path": "x.png"}},
    "a file that is gone": lambda: Image.open("/nowhere/x.png"),
    "a cut PNG, decoded late": lambda: Image.open(io.BytesIO(cut("png"))),
    "a cut PNG": lambda: Image.open(io.BytesIO(cut("png"))).convert("RGB"),
    "a cut JPEG": lambda: Image.open(io.BytesIO(cut("jpeg"))).convert("RGB"),
    "a cut JPEG in torchvision": lambda: decode_jpeg(torch.frombuffer(bytearray(cut("jpeg")[:50]), dtype=torch.uint8)),
    "floating point": lambda: Image.new("F", (4, 4)),
    "no pixels": lambda: Image.new("RGB", (0, 4)),
    "no pixels in a tensor": lambda: torch.zeros(3, 0, 4, dtype=torch.uint8),
}


@pytest.mark.parametrize("read", DAMAGE.values(), ids=DAMAGE.keys())
def test_one_damaged_image_is_an_image_error(read):
    with pytest.raises((ImageError, OSError)):
        DatasetImages(Reading(read)).load(0)


MISTAKES = {
    "a typo": (lambda: Image.opeN("x"), AttributeError),
    "a name": (lambda: imag, NameError),  # noqa: F821
    "a key": (lambda: {}["image"], KeyError),
    "an index": (lambda: [][3], IndexError),
    "a value": (lambda: int("x"), ValueError),
    "a call of Pillow": (lambda: Image.fromarray("pixels"), AttributeError),
    "a transform": (lambda: v2.Resize(3)(5).size, AttributeError),
    "torch": (lambda: torch.zeros(2) @ torch.zeros(3), RuntimeError),
}


@pytest.mark.parametrize(("read", "error"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_the_datasets_code_is_raised_as_it_is(read, error):
    with pytest.raises(error) as raised:
        DatasetImages(Reading(read)).load(0)
    assert not isinstance(raised.value, TobiasError)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            {"train": [RED], "test": [RED]},
            TypeError,
            "one dataset of images, got dict of train, test; give one of them",
        ),
        ({}, TypeError, "got dict of nothing"),
        (iter([RED]), TypeError, "expected a folder or a dataset with a length, got list_iterator"),
        (5, TypeError, "got int"),
        ([], ImageError, "no images: the list is empty"),
        (TensorDataset(torch.zeros(0)), ImageError, "no images: the TensorDataset is empty"),
    ],
)
def test_what_cannot_be_opened_is_named(images, error, message):
    with pytest.raises(error, match=message):
        as_source(images)


def test_a_dataset_may_have_attributes_of_a_sources_names():
    class Named(Reading):
        key = "jpg"
        load = None

    source = as_source(Named(lambda: RED))
    assert isinstance(source, DatasetImages)
    assert (source.key(0), source.load(0).size) == ("0", (4, 5))


@pytest.mark.parametrize("kind", [str, lambda path: path, lambda path: str(path.parent) + "/./" + path.name])
def test_a_list_of_paths_has_their_keys(kind, photos, tmp_path, brightness):
    paths = [kind(photos / key) for key in ImageFiles(photos).keys]
    source = as_source(paths)
    assert [source.key(index) for index in range(12)] == list(map(str, paths))
    table = build_masks(paths, brightness, tmp_path / "m", workers=0, quiet=True)
    by_folder = build_masks(photos, brightness, tmp_path / "f", workers=0, quiet=True)
    assert torch.equal(table.masks(list(map(str, paths))), by_folder.masks(list(ImageFiles(photos).keys)))


def test_relative_paths_in_a_list_survive_another_folder(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    source = as_source(["cat/01.jpg", "dog/00.jpg", "cat/01.jpg"])
    monkeypatch.chdir(tmp_path)
    assert (len(source), source.key(1), source.load(1).size) == (2, "dog/00.jpg", (40, 90))
