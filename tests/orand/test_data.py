import numpy as np
import pytest
import torch

from tests.orand.blobs import SIZE, write_pairs
from tobias_aug import probabilistic_and, probabilistic_or
from tobias_aug.class_maps import ClassMaps, read_class_maps, resize_maps, write_class_maps
from tobias_aug.orand import MapPairs, collate_pairs, fuse_folder


@pytest.fixture
def folders(tmp_path):
    return write_pairs(tmp_path, classes=2)


def maps_of(folders, name):
    return [torch.from_numpy(read_class_maps(folder / f"{name}.npz").maps) for folder in folders]


@pytest.mark.parametrize("options", [{}, {"variant": "official", "offset": 0.1}])
def test_a_sample_is_or_and_and_of_an_images_classes(folders, options):
    pairs = MapPairs(*folders, **options)
    assert (len(pairs), pairs.names[2], pairs.missing) == (6, "2", [])
    cnn, vit = maps_of(folders, "2")
    assert torch.equal(pairs[2].either, probabilistic_or(cnn, vit, **options))
    assert torch.equal(pairs[2].both, probabilistic_and(cnn, vit, **options))
    assert pairs[2].failures == []


def test_maps_are_resized_before_they_are_fused(folders):
    cnn, vit = (resize_maps(maps, (20, 20)) for maps in maps_of(folders, "0"))
    sample = MapPairs(*folders, size=20)[0]
    assert torch.equal(sample.both, probabilistic_and(cnn, vit))
    assert sample.both.amax((1, 2)).tolist() == [1, 1]
    assert set(MapPairs(*folders, threshold=0.5)[0].both.unique().tolist()) == {0, 1}


def test_stored_maps_give_the_same_samples(folders, tmp_path):
    stored = [tmp_path / operation for operation in ("or", "and")]
    for out in stored:
        fuse_folder(*folders, out, out.name, quiet=True)
    one, other = MapPairs(*stored, fused=True)[3], MapPairs(*folders)[3]
    assert torch.equal(one.either, other.either)
    assert torch.equal(one.both, other.both)


def test_a_batch_is_a_stack_of_all_classes(folders, tmp_path):
    single = MapPairs(*write_pairs(tmp_path / "single"))
    samples = [MapPairs(*folders)[0], single[0], single[1]]
    batch = collate_pairs(samples)
    assert batch.either.shape == batch.both.shape == (4, SIZE, SIZE)
    assert batch.classes == [2, 1, 1]
    assert torch.equal(batch.both[2], samples[1].both[0])
    with pytest.raises(ValueError, match=r"differ in size \(20 x 20, 32 x 32\); give a size, or take one image"):
        collate_pairs([samples[0], MapPairs(*folders, size=20)[0]])


def test_what_cannot_be_read_is_replaced_by_the_next_and_named(folders):
    cnn, _ = folders
    (cnn / "1.npz").write_bytes(b"damaged")
    write_class_maps(cnn / "2.npz", ClassMaps(np.array([0]), np.full((1, SIZE, SIZE), 2, np.float32)))
    (cnn / "5.npz").unlink()
    pairs = MapPairs(*folders)
    assert [failure.key for failure in pairs.missing] == ["5"]
    assert pairs.missing[0].reason == f"FileNotFoundError: no class maps of this name in {cnn}"
    sample = pairs[1]
    assert torch.equal(sample.both, pairs[3].both)
    assert [name for name, _ in sample.failures] == ["1", "2"]
    assert "first maps must lie in [0, 1], got [2, 2]" in sample.failures[1][1]
    for name in ("0", "3", "4"):
        write_class_maps(cnn / f"{name}.npz", ClassMaps(np.zeros(0, np.int64), np.zeros((0, SIZE, SIZE), np.float32)))
        vit = folders[1] / f"{name}.npz"
        write_class_maps(vit, ClassMaps(np.zeros(0, np.int64), np.zeros((0, SIZE, SIZE), np.float32)))
    with pytest.raises(ValueError, match="none of 5 images could be read; 4: ValueError: no class, so that there is"):
        pairs[4]


def test_rejections(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no class maps"):
        MapPairs(folders[0], tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (folders[1] / "0.npz").rename(tmp_path / "other" / "x.npz")
    with pytest.raises(ValueError, match="have no file name in common; files are matched by their names"):
        MapPairs(folders[0], tmp_path / "other")
    with pytest.raises(ValueError, match='variant must be "paper" or "official"'):
        MapPairs(*folders, variant="code")
    with pytest.raises(ValueError, match="size must be 1 or more, got 0"):
        MapPairs(*folders, size=0)
