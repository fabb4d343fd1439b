import numpy as np
import pytest
from PIL import Image

from benchmarks.orand.figures import NAMES, draw_curves, draw_maps
from benchmarks.report import Row
from benchmarks.tables import fused
from tobias_aug.class_maps import ClassMaps, write_class_maps
from tobias_aug.orand.loss import VARIANTS


def test_every_method_has_a_name():
    assert {f"orandnet-{loss}" for loss in VARIANTS} < set(NAMES)
    assert len(set(NAMES.values())) == len(NAMES)


def test_curves_and_maps_are_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    curve = [(50 - abs(number - 50), 40 + number / 2, 100 - number) for number in range(100)]
    draw_curves(tmp_path / "curves.png", {"average": curve, "orandnet-official": curve})
    for name in ("1", "2"):
        (tmp_path / "images" / "dog").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (200, 40, 40)).save(tmp_path / "images" / "dog" / f"{name}.png")
        maps = np.linspace(0, 1, 400, dtype=np.float32).reshape(1, 20, 20)
        (tmp_path / "or" / "dog").mkdir(parents=True, exist_ok=True)
        write_class_maps(tmp_path / "or" / "dog" / f"{name}.npz", ClassMaps(np.array([0]), maps))
    draw_maps(tmp_path / "maps.png", tmp_path / "images", {"or": tmp_path / "or"}, ["dog/1", "dog/2"], 0.25)
    for path in ("curves.png", "maps.png"):
        assert len(Image.open(tmp_path / path).convert("RGB").resize((64, 64)).getcolors(4096)) > 10


def test_the_table_has_a_line_per_method_and_only_columns_that_were_measured():
    rows = [
        Row("average: IoU at its own threshold", 40.0, "%", n=3, std=0.25),
        Row("average: precision at 60 % recall", 50.0, "%", n=3),
        Row("orandnet-official: IoU at its own threshold", 42.0, "%", 40.0, 1.05, n=3, std=0.5),
        Row("cnn: accuracy of the classifier", 71.7, "%"),
    ]
    assert fused(rows).splitlines() == [
        "| method | paper, on VOC | IoU, own threshold | precision at 60 % recall | accuracy of the classifier |",
        "| --- | --- | --- | --- | --- |",
        "| naive ensemble | 49.0, 61.5, 72.2 | 40.0 ± 0.2 | 50.0 |  |",
        '| ORANDNet, "official" loss | 54.3, 71.0, 70.9 | 42.0 ± 0.5 |  |  |',
        "| plain CNN |  |  |  | 71.7 |",
        "",
        "Means and standard deviations over 3 seeds; the paper's three numbers are IoU, precision and recall.",
    ]
    assert fused(rows[3:]).endswith("\nOne run; the paper's three numbers are IoU, precision and recall.")
