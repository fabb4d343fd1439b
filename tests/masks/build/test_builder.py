import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tobias_aug import FolderInUseError, ImageError, RandomCNN, TableError, build_masks, half_mask
from tobias_aug.masks import verify_masks
from tobias_aug.masks.table.parts import default_part_size


def test_masks_are_the_better_half_of_the_localizers_scores(photos, tmp_path, brightness):
    table = build_masks(photos, brightness, tmp_path / "out", workers=0, quiet=True)
    assert list(table.keys()) == sorted(str(path.relative_to(photos)) for path in photos.rglob("*.jpg"))
    for key in table.keys():
        with Image.open(photos / key) as image:
            small = image.resize((64, 64), Image.Resampling.BICUBIC)
        expected = np.asarray(small, dtype=np.float32).mean(2).reshape(4, 16, 4, 16).mean((1, 3))
        # Pillow and torch round the resized bytes differently by at most one.
        assert np.abs(table.scores(key).numpy() - expected).max() < 1
        assert torch.equal(table[key], half_mask(table.scores(key)))


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2), (64, 1)])
def test_batch_size_and_workers_change_no_cell(photos, tmp_path, batch_size, workers):
    cnn = RandomCNN("resnet18", input_size=128)
    one = build_masks(photos, cnn, tmp_path / "one", workers=0, quiet=True)
    other = build_masks(photos, cnn, tmp_path / "other", batch_size=batch_size, workers=workers, quiet=True)
    keys = list(one.keys())
    assert list(other.keys()) == keys
    assert torch.equal(one.masks(keys), other.masks(keys))
    for key in keys:
        torch.testing.assert_close(one.scores(key), other.scores(key), rtol=1e-5, atol=0)


def test_bad_files_are_listed_and_stop_nothing(photos, tmp_path, brightness):
    good = len(list(photos.rglob("*.jpg")))
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("no image")
    whole = (photos / "dog" / "00.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    Image.fromarray(np.zeros((9, 9), dtype=np.float32)).save(photos / "float.tiff")
    with open(os.fsencode(photos) + b"/caf\xe9.jpg", "wb") as file:
        file.write(whole)
    table = build_masks(photos, brightness, tmp_path / "out", workers=1, quiet=True)
    reasons = {
        line["key"]: line["reason"]
        for line in map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
    }
    assert len(table) == good
    assert table.description.failures == 6
    assert set(reasons) == {"empty.jpg", "text.png", "cut.jpg", "gone.jpg", "float.tiff", "caf\\xe9.jpg"}
    assert "truncated" in reasons["cut.jpg"]
    assert "cannot identify" in reasons["empty.jpg"]
    assert "No such file" in reasons["gone.jpg"]
    assert "floating-point image" in reasons["float.tiff"]
    assert "not valid UTF-8" in reasons["caf\\xe9.jpg"]


def test_a_bad_file_does_not_change_its_neighbors(photos, tmp_path):
    cnn = RandomCNN("resnet18", input_size=128)
    before = build_masks(photos, cnn, tmp_path / "before", workers=0, quiet=True)
    (photos / "cat" / "00-bad.jpg").touch()
    after = build_masks(photos, cnn, tmp_path / "after", workers=0, quiet=True)
    assert all(torch.equal(before.scores(key), after.scores(key)) for key in before.keys())


def test_failed_files_are_tried_again_only_when_asked(photos, tmp_path, brightness):
    bad = photos / "late.jpg"
    bad.touch()
    out = tmp_path / "out"
    assert "late.jpg" not in build_masks(photos, brightness, out, workers=0, quiet=True)
    shutil.copy(photos / "dog" / "00.jpg", bad)
    assert "late.jpg" not in build_masks(photos, brightness, out, workers=0, quiet=True)
    assert "late.jpg" in build_masks(photos, brightness, out, workers=0, retry_failed=True, quiet=True)


def test_new_images_recompute_only_the_parts_they_touch(photos, tmp_path, brightness):
    out = tmp_path / "out"
    build_masks(photos, brightness, out, part_size=5, workers=0, quiet=True)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    shutil.copy(photos / "dog" / "00.jpg", photos / "zebra.jpg")
    table = build_masks(photos, brightness, out, part_size=5, workers=0, quiet=True)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert [name for name in before if before[name] != after[name]] == ["part-00002.parquet"]
    assert "zebra.jpg" in table
    for path in photos.rglob("*.jpg"):
        if path.name > "03.jpg":
            path.unlink()
    assert len(build_masks(photos, brightness, out, part_size=5, workers=0, quiet=True)) == 4
    assert len(list(out.glob("part-*"))) == 1


def test_another_localizer_or_grid_is_rejected(photos, tmp_path):
    out = tmp_path / "out"
    build_masks(photos, RandomCNN("resnet18", input_size=32), out, grid=1, workers=0, quiet=True)
    with pytest.raises(
        TableError, match=r"another build: localizer.options.seed is 0 there and 1 here; choose another f"
    ):
        build_masks(photos, RandomCNN("resnet18", seed=1, input_size=32), out, grid=1, quiet=True)
    with pytest.raises(TableError, match="choose another folder"):
        build_masks(photos, RandomCNN("resnet18", input_size=64), out, grid=2, quiet=True)


def test_a_folder_of_something_else_is_rejected(photos, tmp_path, brightness):
    (tmp_path / "part-r-0.parquet").touch()
    with pytest.raises(TableError, match="holds Parquet files that are no mask table, .*; choose another folder"):
        build_masks(photos, brightness, tmp_path, quiet=True)
    assert (tmp_path / "part-r-0.parquet").exists()


def test_a_second_build_into_one_folder_is_rejected(photos, tmp_path, brightness):
    from tobias_aug.runtime.files import exclusive

    with exclusive(tmp_path), pytest.raises(FolderInUseError, match="is being written by another process"):
        build_masks(photos, brightness, tmp_path, quiet=True)


def test_no_images_is_said(tmp_path, brightness):
    (tmp_path / "notes.pdf").touch()
    with pytest.raises(ImageError, match=r"holds no images; looked for \.avif, \.bmp"):
        build_masks(tmp_path, brightness, tmp_path / "out")
    with pytest.raises(ImageError, match="nowhere does not exist; give a folder"):
        build_masks(tmp_path / "nowhere", brightness, tmp_path / "out")
    with pytest.raises(ImageError, match="notes.pdf is not a folder"):
        build_masks(tmp_path / "notes.pdf", brightness, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dataset_in_memory_is_keyed_by_index(tmp_path, brightness):
    images = [(Image.new("RGB", (20, 30), (10 * n, 0, 0)), 0) for n in range(5)]
    table = build_masks(images, brightness, tmp_path, workers=0, quiet=True)
    assert list(table.keys()) == ["0", "1", "2", "3", "4"]
    with pytest.raises(TypeError, match="expected a folder or a dataset with a length, got int"):
        build_masks(3, brightness, tmp_path / "other")


def test_equal_keys_are_rejected(tmp_path, brightness):
    class Twins(list):
        def key(self, index):
            return "same"

        def load(self, index, at_least=None):
            return self[index]

    with pytest.raises(ValueError, match="two images have the key 'same'"):
        build_masks(Twins([Image.new("RGB", (9, 9))] * 2), brightness, tmp_path)


@pytest.mark.parametrize(
    ("images", "rows"), [(1, 256), (9_469, 256), (50_000, 512), (1_281_167, 16384), (10**9, 65536)]
)
def test_part_size_follows_from_the_number_of_images_alone(images, rows):
    assert default_part_size(images) == rows


def test_verify_names_missing_extra_and_changed(photos, tmp_path, brightness):
    (photos / "bad.jpg").touch()
    table = build_masks(photos, brightness, tmp_path / "out", workers=0, quiet=True)
    result = verify_masks(table, photos, brightness)
    assert result.is_good
    assert (result.recomputed, result.unreadable) == (12, ["bad.jpg"])
    (photos / "cat" / "01.jpg").rename(photos / "new.jpg")
    Image.fromarray(255 - np.asarray(Image.open(photos / "dog" / "02.jpg"))).save(photos / "dog" / "02.jpg")
    (photos / "dog" / "04.jpg").write_bytes(b"")
    result = verify_masks(table, photos, brightness)
    assert not result.is_good
    assert result.missing == ["new.jpg"]
    assert result.extra == ["cat/01.jpg"]
    assert result.changed == ["dog/02.jpg"]
    assert [failure.key for failure in result.unreadable_now] == ["dog/04.jpg"]
    assert "cannot identify image file" in result.unreadable_now[0].reason
    with pytest.raises(
        TableError, match="was made by another localizer: localizer.name is .* give the same localizer and options"
    ):
        verify_masks(table, photos, RandomCNN("resnet18"))


def test_real_images_are_covered_whole(real_data, tmp_path):
    folder = real_data / "ilsvrc_boxes"
    cnn = RandomCNN("resnet18")
    table = build_masks(folder, cnn, tmp_path / "a", workers=1, quiet=True)
    assert len(table) == len(list(folder.rglob("*.jpg"))) + len(list(folder.rglob("*.JPEG"))) == 300
    again = build_masks(folder, cnn, tmp_path / "b", workers=0, batch_size=7, quiet=True)
    assert torch.equal(table.masks(list(table)), again.masks(list(table)))
