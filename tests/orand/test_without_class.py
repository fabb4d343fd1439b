"""Images without a class through every command: no failure, counted, background if their size is known."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tobias_aug.class_maps import (
    ClassMaps,
    label_folder,
    read_class_maps,
    read_index_mask,
    write_class_maps,
    write_index_mask,
)
from tobias_aug.cli import main
from tobias_aug.metrics import sweep_maps
from tobias_aug.orand import MapPairs, fuse_folder

EMPTY = {
    "irn": {"keys": torch.zeros(0, dtype=torch.long)},
    "clip": {"keys": np.array([-1]), "attn_highres": np.zeros((1, 20, 30), np.float16)},
    "mct": {},
}


@pytest.fixture
def tobias(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["tobias-aug", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def coco(tmp_path):
    """Two images with a class and three without, by two classifiers; all of 20 x 30 pixels."""
    maps = np.zeros((1, 20, 30), np.float32)
    maps[0, 5:15, 5:20] = 1
    for folder in ("a", "b", "images", "truth"):
        (tmp_path / folder).mkdir()
    for name in ("full", "full2", *EMPTY):
        for folder in ("a", "b"):
            stored = EMPTY.get(name, {"keys": np.array([14]), "high_res": maps})
            np.save(tmp_path / folder / f"{name}.npy", stored, allow_pickle=True)
        Image.new("RGB", (30, 20)).save(tmp_path / "images" / f"{name}.jpg")
        mask = maps[0] * (0 if name in EMPTY else 15)
        write_index_mask(tmp_path / "truth" / f"{name}.png", mask.astype(np.uint8))
    return tmp_path


def test_fuse_then_labels(tobias, coco):
    fuse = ("orand", "fuse", coco / "a", coco / "b", "-o", coco / "fused")
    output = f"{coco / 'fused'}: 5 fused maps\nwithout a class: 3 images, such as clip\n"
    assert tobias(*fuse)[:2] == (0, output)
    assert tobias(*fuse)[:2] == (0, output)
    labels = ("orand", "labels", coco / "fused", "--low", 0.5, "-o")
    status, output, _ = tobias(*labels, coco / "masks", "--images", coco / "images")
    assert (status, output.splitlines()[0]) == (0, f"{coco / 'masks'}: 5 pseudo masks")
    for name in EMPTY:
        assert np.array_equal(read_index_mask(coco / "masks" / f"{name}.png"), np.zeros((20, 30)))
    assert (read_index_mask(coco / "masks" / "full.png") == 15).sum() == 150
    status, output, _ = tobias(*labels, coco / "sizeless")
    assert status == 0
    assert output.splitlines() == [
        f"{coco / 'sizeless'}: 3 pseudo masks",
        "without a class: 3 images, such as clip",
        "skipped: 2 of them, whose size is not known; --images gives them a background",
    ]
    assert sorted(path.stem for path in (coco / "sizeless").glob("*.png")) == ["clip", "full", "full2"]
    assert (coco / "sizeless" / "failures.jsonl").read_text() == ""


@pytest.mark.parametrize("command", ["refine", "labels"])
def test_refinement(tobias, coco, command):
    options = ("--low", 0.3, "--refine", "pamr") if command == "labels" else ()
    out = coco / "out"
    run = ("orand", command, coco / "a", "--images", coco / "images", "-o", out, "--device", "cpu", *options)
    status, output, _ = tobias(*run)
    assert (status, output.splitlines()[1]) == (0, "without a class: 3 images, such as clip")
    for name in EMPTY:
        if command == "labels":
            assert np.array_equal(read_index_mask(out / f"{name}.png"), np.zeros((20, 30)))
        else:
            assert read_class_maps(out / f"{name}.npz").maps.shape == (0, 20, 30)


def test_evaluate(tobias, coco):
    sweep = ("orand", "evaluate", coco / "a", "--truth", coco / "truth", "--sweep", "--json", coco / "scores.json")
    status, output, _ = tobias(*sweep)
    assert status == 0
    assert "5 images scored\nwithout a class: 3 images, such as clip" in output
    content = json.loads((coco / "scores.json").read_text())
    assert (content["miou"], content["images"], content["failures"]) == (100.0, 5, {})


def test_a_resumed_run_counts_them_too(coco):
    for change in ("full.png", "mct.png"):
        result = label_folder(coco / "a", coco / "out", low=0.5, images=coco / "images", quiet=True)
        assert (result.done, result.without_class, result.skipped) == (5, ["clip", "irn", "mct"], [])
        (coco / "out" / change).unlink()
    # An image that has got a class meanwhile is no longer counted.
    (coco / "a" / "mct.npy").unlink()
    write_class_maps(coco / "a" / "mct.npz", ClassMaps(np.array([3]), np.ones((1, 20, 30), np.float32)))
    result = label_folder(coco / "a", coco / "out", low=0.5, images=coco / "images", quiet=True)
    assert result.without_class == ["clip", "irn"]


def test_a_class_that_one_classifier_finds_is_kept(coco):
    np.save(coco / "b" / "irn.npy", {"keys": np.array([3]), "high_res": np.ones((1, 20, 30), np.float32)})
    result = fuse_folder(coco / "a", coco / "b", coco / "fused", "or", quiet=True)
    assert (result.failures, result.without_class) == ([], ["clip", "mct"])
    assert read_class_maps(coco / "fused" / "irn.npz").maps.shape == (1, 20, 30)


def test_training_takes_the_next_image_and_names_no_failure(coco):
    pairs = MapPairs(coco / "a", coco / "b")
    for index in range(len(pairs)):
        assert (pairs[index].either.shape, pairs[index].failures) == ((1, 20, 30), [])


def test_small_maps_say_so_and_get_the_images_size(tobias, coco):
    """IRN's "cam" alone, as people keep it to save room."""
    (coco / "small").mkdir()
    quarter = np.zeros((1, 5, 8), np.float32)
    quarter[0, 1:4, 2:5] = 1
    for name in ("full", "full2"):
        np.save(coco / "small" / f"{name}.npy", {"keys": np.array([14]), "cam": quarter}, allow_pickle=True)
    with pytest.warns(UserWarning, match="2 masks are smaller than their images, such as full by 4"):
        label_folder(coco / "small", coco / "out", low=0.5, quiet=True)
    assert read_index_mask(coco / "out" / "full.png").shape == (5, 8)
    fuse_folder(coco / "small", coco / "small", coco / "fused", "and", quiet=True)
    status, _, output = tobias("orand", "labels", coco / "fused", "--low", 0.5, "-o", coco / "output")
    assert status == 0
    assert (
        "warning: 2 masks are smaller than their images, such as full by 4, as their maps are; give the images"
        in output
    )
    status, _, output = tobias(
        "orand", "labels", coco / "fused", "--low", 0.5, "-o", coco / "full", "--images", coco / "images"
    )
    assert (status, "warning" in output) == (0, False)
    assert read_index_mask(coco / "full" / "full.png").shape == (20, 30)
    counted, result = sweep_maps(coco / "small", coco / "truth", quiet=True)
    assert (result.done, result.failures) == (2, [])
    assert max(scores.mean_iou for scores in counted.scores()) > 80


@pytest.mark.parametrize("form", ["{}", "{}.jpg", "/JPEGImages/{}.jpg /SegmentationClassAug/{}.png"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_the_field_are_read(tobias, coco, form, encoding):
    lines = "".join(form.replace("{}", name) + "\r\n" for name in ("full", "clip"))
    (coco / "list.txt").write_bytes(lines.encode(encoding))
    status, output, _ = tobias(
        "orand", "evaluate", coco / "truth", "--truth", coco / "truth", "--list", coco / "list.txt"
    )
    assert (status, "2 images scored" in output) == (0, True)
