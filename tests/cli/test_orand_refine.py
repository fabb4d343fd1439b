"""``tobias-aug orand refine`` and refined labels, as a user runs them."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from tobias_aug.class_maps import ClassMaps, read_class_maps, read_index_mask, write_class_maps
from tobias_aug.images import read_rgb
from tobias_aug.refine import refine_class_maps, refined_index_mask

KEYS = np.array([2, 11])


@pytest.fixture
def folders(tmp_path):
    """Two images in a folder below, a quarter-size map of each, and a map without an image."""
    random = np.random.default_rng(0)
    (tmp_path / "images" / "below").mkdir(parents=True)
    (tmp_path / "cams").mkdir()
    for name in "abc":
        if name != "c":
            image = random.integers(0, 256, (24, 36, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "images" / "below" / f"{name}.png")
        maps = random.random((2, 6, 9), dtype=np.float32)
        write_class_maps(tmp_path / "cams" / f"{name}.npz", ClassMaps(KEYS, maps, {"stage": "cam"}))
    return tmp_path


def given(folders, name):
    return read_class_maps(folders / "cams" / f"{name}.npz"), np.asarray(
        read_rgb(folders / "images" / "below" / f"{name}.png")
    )


@pytest.mark.parametrize("method", ["pamr", "crf"])
def test_refine(tobias, folders, method):
    if method == "crf":
        pytest.importorskip("pydensecrf.densecrf", reason="needs the extra crf, which compiles C++")
    out = folders / "out"
    command = ("orand", "refine", folders / "cams", "--images", folders / "images", "-o", out, "--method", method)
    status, output, _ = tobias(*command)
    assert status == 1
    assert output.splitlines() == [
        f"{out}: 2 refined maps",
        f"failed: c: FileNotFoundError: no image of this name in {folders / 'images'}",
    ]
    for name in "ab":
        refined = read_class_maps(out / f"{name}.npz")
        assert np.array_equal(refined.maps, refine_class_maps(*given(folders, name), method).maps)
        assert refined.metadata["source"]["stage"] == "cam"
    assert [json.loads(line)["key"] for line in (out / "failures.jsonl").read_text().splitlines()] == ["c"]
    # Another run makes what is missing, and nothing else; other options are rejected.
    (out / "a.npz").unlink()
    before = (out / "b.npz").stat().st_mtime_ns
    assert tobias(*command)[0] == 1
    assert (out / "b.npz").stat().st_mtime_ns == before
    assert (out / "a.npz").is_file()
    status, _, rejection = tobias(*command, "--iterations", 3)
    assert status == 2
    assert "choose another folder" in rejection


def test_refined_labels(tobias, folders):
    (folders / "cams" / "c.npz").unlink()
    out = folders / "out"
    options = ("--low", 0.4, "--high", 0.6, "--refine", "pamr", "--images", folders / "images", "--device", "cpu")
    status, output, _ = tobias("orand", "labels", folders / "cams", "-o", out, *options)
    assert (status, output) == (0, f"{out}: 2 pseudo masks\n")
    for name in "ab":
        expected = refined_index_mask(*given(folders, name), 0.4, 0.6)
        assert np.array_equal(read_index_mask(out / f"{name}.png"), expected)


def test_what_does_not_fit_is_rejected(tobias, folders, monkeypatch):
    cams, out = folders / "cams", folders / "out"
    status, _, output = tobias("orand", "labels", cams, "-o", out, "--low", 0.3, "--refine", "pamr")
    assert status == 2
    assert "with both --refine and --images, or with neither" in output
    (folders / "images" / "a.png").write_bytes((folders / "images" / "below" / "a.png").read_bytes())
    status, _, output = tobias("orand", "refine", cams, "--images", folders / "images", "-o", out)
    assert status == 2
    assert "have the same name; masks are matched by name, rename one" in output
    for module in ("pydensecrf", "pydensecrf.densecrf"):
        monkeypatch.setitem(sys.modules, module, None)
    status, _, output = tobias("orand", "refine", cams, "--images", folders / "images", "-o", out, "--method", "crf")
    assert status == 2
    assert "pip install '.[crf]'" in output
