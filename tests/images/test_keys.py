"""What a dataset's samples are called: by path where it is sure, by number otherwise, never by a wrong path."""

from pathlib import Path, PurePosixPath

import pytest
import torch
import torchvision
from lightly.data import LightlyDataset
from PIL import Image
from timm.data import ImageDataset
from torch.utils.data import ConcatDataset, Dataset, Subset, random_split
from torchvision.datasets import Country211, ImageFolder, ImageNet

from tobias_aug import MaskTable, MergedViews, MissingMaskError, build_masks
from tobias_aug.images import ImageFiles
from tobias_aug.images.keys import KeyList, as_key, sample_key


def keys_of(dataset):
    return [sample_key(dataset, index) for index in range(len(dataset))]


def size(image):
    return "{} x {}".format(*image.size)


class Own(Dataset):
    """A user's dataset with four samples and whatever attributes are given."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return Image.new("RGB", (8, 8)), 0


NUMBERS = ["0", "1", "2", "3"]
NAMES = [f"cat/{number}.png" for number in range(4)]
OTHER_MEANINGS = {
    "samples of dicts": {"root": "/data", "samples": [{"file": name} for name in NAMES]},
    "samples of strings": {"root": "/data", "samples": NAMES},
    "samples of tensors": {"root": "/data", "samples": torch.zeros(4, 2)},
    "samples of numbers": {"root": "/data", "samples": [(number, 0) for number in range(4)]},
    "empty samples": {"root": "/data", "samples": [()] * 4},
    "samples elsewhere": {"root": "/data", "samples": [(f"/other/{name}", 0) for name in NAMES]},
    "samples above": {"root": "/data", "samples": [(f"../{name}", 0) for name in NAMES]},
    "a number of samples": {"root": "/data", "samples": 4},
    "a method called samples": {"root": "/data", "samples": lambda: NAMES},
    "no root": {"samples": [(name, 0) for name in NAMES]},
    "a root that is none": {"root": None, "samples": [(name, 0) for name in NAMES]},
    "a key of text": {"key": "jpg"},
    "a key of nothing": {"key": None},
    "a method key of no arguments": {"key": lambda: "secret"},
    "a method key of two arguments": {"key": lambda name, default: name},
    "a method key that gives a tensor": {"key": lambda index: torch.zeros(3)},
    "indices of another meaning": {"indices": [3, 3, 3, 3], "dataset": NAMES},
    "indices without length": {"indices": 3, "dataset": NAMES},
    "a file name": {"filename": "data.h5", "reader": None},
    "a name of file names": {"index_to_filename": "names.txt", "dataset": NAMES},
    "a list of datasets": {"datasets": [1, 2]},
}


@pytest.mark.parametrize("attributes", OTHER_MEANINGS.values(), ids=OTHER_MEANINGS.keys())
def test_attributes_of_another_meaning_leave_the_number(attributes):
    assert keys_of(Own(**attributes)) == NUMBERS


@pytest.mark.parametrize(
    "attributes",
    [
        {"root": "/data", "samples": [(f"/data/{name}", 0) for name in NAMES]},
        {"root": Path("/data"), "samples": [(Path("/data") / name, 0) for name in NAMES]},
        {"root": "/data/", "samples": [[f"/data//{name}", "label", 3] for name in NAMES]},
        {"root": "data", "samples": [(f"data/{name}", 0) for name in NAMES]},
        {"root": "./data", "samples": [(f"data/./{name}", 0) for name in NAMES]},
        {"root": "/data", "samples": [(name, 0) for name in NAMES]},
        {"key": lambda index: NAMES[index]},
        {"key": lambda index: Path(NAMES[index])},
    ],
)
def test_paths_below_the_root_are_keys_wherever_the_process_stands(attributes, tmp_path, monkeypatch):
    dataset = Own(**attributes)
    assert keys_of(dataset) == NAMES
    monkeypatch.chdir(tmp_path)
    assert keys_of(dataset) == NAMES


def test_what_a_datasets_own_code_raises_is_not_swallowed():
    def key(index):
        return len(index)  # A mistake of the user.

    with pytest.raises(TypeError, match=r"has no len\(\)"):
        sample_key(Own(key=key), 0)
    assert sample_key(Own(key=lambda index: index + 5), torch.tensor(1)) == "6"


@pytest.mark.parametrize("index", [3, torch.tensor(3), torch.tensor([3])[0]])
def test_an_index_is_a_number_whatever_holds_it(index):
    assert sample_key([0] * 5, index) == "3"


def hosts(photos):
    return {
        "torchvision": ImageFolder(str(photos)),
        "lightly": LightlyDataset(str(photos)),
        "timm": ImageDataset(str(photos)),
        "ours": ImageFiles(photos),
    }


@pytest.mark.parametrize("host", ["torchvision", "lightly", "timm", "ours"])
def test_hosts_agree_with_the_folder(host, photos):
    dataset = hosts(photos)[host]
    names = list(ImageFiles(photos).keys)
    assert keys_of(dataset) == names
    assert keys_of(Subset(Subset(dataset, [7, 3, 5]), [2, 0])) == [names[5], names[7]]
    part = random_split(dataset, [2, 10])[0]
    assert keys_of(part) == [names[index] for index in part.indices]
    joined = ConcatDataset([dataset, Subset(dataset, [4])])
    assert keys_of(joined) == [f"0/{name}" for name in names] + [f"1/{names[4]}"]
    assert sample_key(joined, -1) == f"1/{names[4]}"


def test_joined_datasets_without_paths_are_numbered_through():
    assert keys_of(ConcatDataset([Own(), Own()])) == [str(number) for number in range(8)]


def test_a_table_of_one_folder_does_not_serve_the_images_of_another(photos, tmp_path, brightness):
    other = tmp_path / "other"
    (other / "cat").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (30, 40)).save(other / "cat" / f"0{number}.jpg")
    joined = ConcatDataset([ImageFolder(photos), ImageFolder(other)])
    alone = build_masks(photos, brightness, tmp_path / "alone", workers=0, quiet=True)
    with pytest.raises(MissingMaskError, match="0/cat/01.jpg"):
        MergedViews(joined, alone, lambda image: image, p=1.0)[0]
    both = build_masks(joined, brightness, tmp_path / "both", workers=0, quiet=True)
    assert len(both) == 15
    assert {MergedViews(joined, both, size, p=1.0)[14][0][1]} == {"30 x 40"}


def image_net(folder):
    for wnid in ("n01440764", "n01443537"):
        (folder / "train" / wnid).mkdir(parents=True)
        Image.new("RGB", (20, 30)).save(folder / "train" / wnid / "0.JPEG")
    torch.save(({"n01440764": ("tench",), "n01443537": ("goldfish", "gold")}, []), folder / "meta.bin")
    return ImageNet(str(folder), "train"), folder / "train"


def country(folder):
    for name in ("AD", "train"):
        (folder / "country211" / "train" / name).mkdir(parents=True)
        Image.new("RGB", (20, 30)).save(folder / "country211" / "train" / name / "0.jpg")
    return Country211(folder, "train"), folder / "country211" / "train"


@pytest.mark.parametrize("make", [image_net, country])
def test_torchvisions_datasets_have_the_keys_of_the_folder_they_read(make, tmp_path, brightness):
    dataset, folder = make(tmp_path / "in")
    assert isinstance(dataset, torchvision.datasets.DatasetFolder)
    table = build_masks(folder, brightness, tmp_path / "masks", workers=0, quiet=True)
    views = MergedViews(dataset, MaskTable.open(tmp_path / "masks"), size, p=1.0)
    assert [views[index][0] for index in range(2)] == [["20 x 30"] * 2] * 2
    assert keys_of(dataset) == list(table.keys())


def test_keys_may_be_given_as_paths(photos):
    files = ImageFiles(photos, [PurePosixPath("cat/01.jpg"), "dog/00.jpg"])
    assert list(files.keys) == ["cat/01.jpg", "dog/00.jpg"]
    assert as_key(b"caf\xe9.jpg") == "caf\udce9.jpg"
    assert as_key(Path("a") / "b.png") == "a/b.png"
    assert KeyList([Path("a/b.png")])[0] == "a/b.png"
