"""Class maps of folders: every image its file, whatever is broken, interrupted, or of another size."""

import gc
import json
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tobias_aug import TobiasError, class_activation_maps
from tobias_aug.cams import class_map_folder
from tobias_aug.class_maps import class_map_files, read_class_maps, read_labels
from tobias_aug.images import read_rgb, resize_square, to_tensor

NAMES = [f"{'cat' if number % 2 else 'dog'}/{number:02d}" for number in range(12)]


class TinyCNN(nn.Module):
    """A CNN for CAM that notes the size of every batch it sees."""

    def __init__(self, classes=2):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU())
        self.classifier = nn.Linear(8, classes)
        self.seen = []

    def forward(self, images):
        self.seen.append(tuple(images.shape))
        return self.classifier(self.body(images).mean((2, 3)))


def run(images, out, network=None, **options):
    options = {"labels": "folder-names", "workers": 0, "device": "cpu", "quiet": True, "scales": (1, 0.5)} | options
    return class_map_folder(images, network or TinyCNN(), out, **options)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("input_size", [None, 32])
def test_each_image_has_its_maps_at_its_own_size(photos, tmp_path, input_size, workers):
    result = run(photos, tmp_path / "out", input_size=input_size, workers=workers)
    assert (result.done, result.failures) == (12, [])
    files = class_map_files(tmp_path / "out")
    assert sorted(files) == sorted(NAMES)
    for name, file in files.items():
        image = to_tensor(read_rgb(photos / f"{name}.jpg"))
        seen = image if input_size is None else resize_square(image, input_size)
        (expected,) = class_activation_maps(
            TinyCNN(), seen[None], [[0 if "cat" in name else 1]], scales=(1, 0.5), sizes=[tuple(image.shape[1:])]
        )
        made = read_class_maps(file)
        assert made.keys.tolist() == expected.keys.tolist()
        assert made.size == tuple(image.shape[1:])
        np.testing.assert_allclose(made.maps, expected.maps, rtol=0, atol=1e-5)
        assert made.metadata == {
            "stage": "cam",
            "thresholds": None,
            "ground_truth_labels": True,
            "scales": [1.0, 0.5],
            "flip": True,
            "stride": 1,
        }


def test_images_of_one_size_go_together(tmp_path):
    for number in range(10):
        size = (32, 48) if number % 2 else (48, 32)
        Image.new("RGB", size, (number * 20, 0, 99)).save(tmp_path / f"{number}.png")
    network = TinyCNN()
    run(tmp_path, tmp_path / "out", network, labels=None, batch_size=4, scales=(1,), flip=False)
    assert (
        network.seen[1:]
        == [  # the first is a blank; each batch is seen once to predict and once for its maps
            *[(4, 3, 32, 48)] * 2,
            *[(4, 3, 48, 32)] * 2,
            *[(1, 3, 32, 48)] * 2,
            *[(1, 3, 48, 32)] * 2,
        ]
        or network.seen[1:]
        == [
            *[(4, 3, 48, 32)] * 2,
            *[(4, 3, 32, 48)] * 2,
            *[(1, 3, 48, 32)] * 2,
            *[(1, 3, 32, 48)] * 2,
        ]
    )
    assert read_class_maps(tmp_path / "out" / "3.npz").metadata["ground_truth_labels"] is False


def test_another_run_continues_and_another_network_is_rejected(photos, tmp_path):
    class Stops(TinyCNN):
        def forward(self, images):
            if len(self.seen) == 7:
                raise KeyboardInterrupt
            return super().forward(images)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(photos, out, Stops(), scales=(1,))
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    assert 0 < len(written) < 12
    (out / "cat" / ".01.npz.99.tmp").write_bytes(b"half")
    again = TinyCNN()
    again.__class__ = type("Stops", (TinyCNN,), {})  # the name of the class is noted
    assert run(photos, out, again, scales=(1,)).done == 12
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())
    assert len(list(out.rglob("*.npz"))) == 12
    assert not list(out.rglob("*.tmp"))
    other = Stops()
    nn.init.zeros_(other.classifier.bias)
    for network, options in ((other, {"scales": (1,)}), (Stops(), {"scales": (1, 0.5)})):
        with pytest.raises(TobiasError, match="choose another folder, or give the settings of this one"):
            run(photos, out, network, **options)


def test_a_resumed_run_makes_the_same_batches(photos, tmp_path):
    class Mixes(TinyCNN):
        """What it says of an image depends on all images of the batch."""

        def forward(self, images):
            self.seen.append(tuple(images.shape))
            features = self.body(images)
            return self.classifier((features + features.mean(0, keepdim=True)).mean((2, 3)))

    (photos / "cat" / "05.jpg").write_bytes(b"broken")
    options = {"batch_size": 2, "input_size": 32}
    assert run(photos, tmp_path / "whole", Mixes(), **options).done == 11
    whole = {path.stem: path.read_bytes() for path in (tmp_path / "whole").rglob("*.npz")}
    for lost in ("00", "07"):
        (path,) = (tmp_path / "whole").rglob(f"{lost}.npz")
        path.unlink()
    network = Mixes()
    result = run(photos, tmp_path / "whole", network, **options)
    assert (result.done, [failure.key for failure in result.failures]) == (11, ["cat/05"])
    assert {path.stem: path.read_bytes() for path in (tmp_path / "whole").rglob("*.npz")} == whole
    # A blank and another to count classes; then two batches, at two scales each.
    assert [shape[0] for shape in network.seen[-4:]] == [4] * 4
    assert len(network.seen) < 9


def test_what_fails_is_listed_and_stops_nothing(photos, tmp_path):
    (photos / "cat" / "01.jpg").write_bytes((photos / "cat" / "01.jpg").read_bytes()[:200])
    labels = {f"{name}.jpg": [0, 1] for name in NAMES} | {"dog/02.jpg": 7}
    del labels["dog/04.jpg"]
    result = run(photos, tmp_path / "out", labels=labels, input_size=32)
    assert result.done == 9
    reasons = {failure.key: failure.reason for failure in result.failures}
    assert reasons.pop("cat/01").startswith("OSError: ")
    assert reasons == {
        "dog/04": "no class of dog/04.jpg among the labels",
        "dog/02": "ValueError: the network knows classes 0 to 1, asked for 7",
    }
    listed = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["key"] for line in listed) == ["cat/01", "dog/02", "dog/04"]
    assert read_class_maps(tmp_path / "out" / "dog" / "00.npz").keys.tolist() == [0, 1]


def test_what_fits_no_image_is_rejected_before_anything_is_written(photos, tmp_path):
    with pytest.raises(ValueError, match="there are 2 class folders and the network knows 10 classes"):
        run(photos, tmp_path / "out", TinyCNN(10))
    with pytest.raises(ValueError, match='labels must be a mapping from keys to classes, or "folder-names"'):
        run(photos, tmp_path / "out", labels="folders")
    with pytest.raises(TypeError, match="has no global pooling and then"):
        run(photos, tmp_path / "out", nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)), input_size=32)
    with pytest.raises(ValueError, match="scales must be positive"):
        run(photos, tmp_path / "out", scales=(0,))
    (photos / "cat" / "01.png").write_bytes((photos / "cat" / "01.jpg").read_bytes())
    with pytest.raises(ValueError, match=r"cat/01.jpg and cat/01.png would share the file cat/01; rename one"):
        run(photos, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Noise:
    """Any number of images without a file."""

    def __init__(self, count, sizes):
        self.count, self.sizes = count, sizes

    def __len__(self):
        return self.count

    def key(self, index):
        return str(index)

    def load(self, index, at_least=None):
        return torch.full((3, 96, 96 - index * 7 % self.sizes), index % 256, dtype=torch.uint8)


class Counting(TinyCNN):
    """Counts, now and then, the bytes of all tensors alive."""

    def __init__(self):
        super().__init__()
        self.alive = []

    def forward(self, images):
        if len(self.seen) % 8 == 7:
            self.alive.append(sum(each.nbytes for each in gc.get_objects() if type(each) is Tensor))
        return super().forward(images)


@pytest.mark.parametrize("sizes", [1, 50])
def test_memory_does_not_grow_with_the_dataset(tmp_path, sizes):
    peaks = []
    for count in (16, 48):
        network = Counting()
        tracemalloc.start()
        run(Noise(count, sizes), tmp_path / str(count), network, labels=None, batch_size=2, stride=8, scales=(1,))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000
    # 48 images are 1.3 MB as bytes and 5 MB as floats.
    assert len(network.alive) >= 5
    assert max(network.alive[2:]) <= max(network.alive[:2]) + 300_000


def test_labels_are_read_from_csv(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text('image,class\n"a, b.jpg",3\ncat/1.jpg, 4\n"a, b.jpg",0\n\n')
    assert read_labels(file) == {"a, b.jpg": [3, 0], "cat/1.jpg": [4]}
    file.write_text("a.jpg,3\nb.jpg,cat\n")
    with pytest.raises(
        ValueError, match=r"labels.csv, row 2: expected an image's key and a class number, got \['b.jpg'"
    ):
        read_labels(file)
    file.write_text("image,class\n")
    with pytest.raises(ValueError, match="holds no rows of an image's key and a class number"):
        read_labels(file)


def test_real_images(real_data, tmp_path):
    import torchvision

    from tobias_aug.images import ImageFiles

    folder = real_data / "ilsvrc_boxes"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    keys = list(ImageFiles(folder).keys)[:4]
    torch.manual_seed(0)
    networks = {
        "cam": torchvision.models.resnet18(num_classes=10),
        "relevance": torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=10),
    }
    nn.init.normal_(networks["relevance"].heads.head.weight)
    for method, network in networks.items():
        out = tmp_path / method
        result = run(ImageFiles(folder, keys), out, network, labels=dict.fromkeys(keys, 3), input_size=64, scales=(1,))
        assert (result.done, result.failures) == (4, [])
        for name, file in class_map_files(out).items():
            maps = read_class_maps(file)
            assert maps.metadata["stage"] == method, name
            assert maps.keys.tolist() == [3]
            assert maps.size == (224, 224)
            assert maps.maps.min() >= 0
            assert 0.9 < maps.maps.max() <= 1
            assert maps.maps.std() > 0.05
