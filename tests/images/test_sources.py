import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset
from torchvision.datasets import ImageFolder

from tobias_aug.images import ImageFiles, as_source, image_files_by_name, sample_key
from tobias_aug.images.datasets import DatasetImages


def test_keys_are_sorted_paths_below_the_root(photos):
    (photos / "dog" / "deep").mkdir()
    (photos / "cat" / "01.jpg").rename(photos / "dog" / "deep" / "x.JPEG")
    (photos / "readme.txt").touch()
    files = ImageFiles(photos)
    assert list(files.keys)[-2:] == ["dog/10.jpg", "dog/deep/x.JPEG"]
    assert len(files) == 12
    image, target = files[11]
    assert image.size == (47, 86)
    assert target == 1


def test_links_are_followed_but_not_in_circles(photos, tmp_path):
    (photos / "cat" / "up").symlink_to(photos)
    (photos / "more").symlink_to(photos / "dog")
    keys = list(ImageFiles(photos).keys)
    assert len(keys) == 18
    assert not any("up" in key for key in keys)


def test_a_dataset_and_its_folder_agree_on_keys_and_targets(photos):
    files, folder = ImageFiles(photos), ImageFolder(photos)
    assert files.classes == folder.classes
    subset = Subset(folder, [3, 5])
    for index in range(len(files)):
        assert sample_key(folder, index) == files.key(index) == sample_key(files, index)
        assert folder[index][1] == files[index][1]
    assert sample_key(subset, 1) == files.key(5)
    assert sample_key(TensorDataset(torch.zeros(9)), 4) == "4"


def test_targets_are_torchvisions_where_a_class_is_empty(photos):
    (photos / "aardvark").mkdir()
    (photos / "top.jpg").write_bytes((photos / "cat" / "01.jpg").read_bytes())
    files, folder = ImageFiles(photos), ImageFolder(photos, allow_empty=True)
    assert files.classes == folder.classes == ["aardvark", "cat", "dog"]
    assert [files.target(index) for index in range(12)] == folder.targets
    assert files.target(12) == 0
    few = ImageFiles(photos, ["dog/00.jpg"])
    assert (few.classes, few.target(0)) == (folder.classes, 2)


def test_a_dataset_gives_images_or_says_what_it_gave():
    image = Image.new("L", (4, 5))
    tensor = torch.zeros(3, 4, 5, dtype=torch.uint8)
    assert DatasetImages([(image, 1)]).load(0).mode == "RGB"
    assert DatasetImages([tensor]).load(0) is tensor
    with pytest.raises(TypeError, match=r"got a tensor of torch.float32, \(3, 4, 5\); masks are made before any augm"):
        DatasetImages([tensor.float()]).load(0)
    with pytest.raises(TypeError, match="got str"):
        DatasetImages([("x.jpg", 1)]).load(0)
    files = as_source([image])
    assert isinstance(files, DatasetImages)
    assert as_source(files) is files


def test_images_by_name(photos):
    found = image_files_by_name(photos)
    assert sorted(found) == [f"{number:02d}" for number in range(12)]
    assert found["01"] == photos / "cat" / "01.jpg"
    (photos / "01.png").touch()
    with pytest.raises(ValueError, match=r"01\.png and .*01\.jpg have the same name; masks are matched by name"):
        image_files_by_name(photos)
