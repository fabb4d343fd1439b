"""From a folder of images to a training with swapped backgrounds: train, segment, evaluate, build a table, merge."""

import contextlib
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra train")

from tests.redo.scenes import write_scenes
from tobias_aug import MaskTable, PatchMerge, build_masks
from tobias_aug.class_maps import read_class_maps, read_index_mask
from tobias_aug.cli import main
from tobias_aug.masks.localizer import Localizer, identity, named_localizer
from tobias_aug.redo import read_result, segment_image
from tobias_aug.redo.segment import index_of, segment_folder

TRAIN = (
    "--size 16 --width 8 --mask-width 4 --batch-size 4 --steps 30 --start border-contrast --start-steps 40 --z-size 3"
)


def run(*arguments):
    """Run the command line in this process: status, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr("sys.argv", ["tobias-aug", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
    return SimpleNamespace(returncode=left.value.code or 0, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Folders of a chain that has been trained."""
    home = tmp_path_factory.mktemp("chain")
    images, masks = write_scenes(home)
    done = run("redo", "train", images, "-o", home / "run", "--device", "cpu", *TRAIN.split())
    assert done.returncode == 0, done.stderr
    assert "0 is the background" in done.stdout
    return home, images, masks


def test_masks_have_the_images_size_and_are_scored(chain):
    home, images, masks = chain
    done = run("redo", "segment", images, "--run", home / "run", "-o", home / "out", "--device", "cpu")
    assert (done.returncode, "12 masks" in done.stdout) == (0, True), done.stderr
    assert read_index_mask(home / "out" / "00.png").shape == (24, 24)
    maps = read_class_maps(home / "out" / "00.npz")
    assert maps.keys.tolist() == [0]
    assert ((maps.maps[0] > 0.5) == read_index_mask(home / "out" / "00.png")).mean() > 0.99
    scores = home / "scores.json"
    done = run("redo", "evaluate", home / "out", "--truth", masks, "--permutation", "none", "--json", scores)
    assert done.returncode == 0, done.stderr
    found = json.loads(scores.read_text())
    assert found["images"] == 12
    assert found["iou"] > 40
    assert found["by_permutation"]["image"]["iou"] >= found["by_permutation"]["dataset"]["iou"] - 1e-9


def test_a_table_of_its_masks_feeds_patch_merge(chain):
    home, images, _ = chain
    done = run("masks", "build", images, "-o", home / "table", "--localizer", "redo", "--run", home / "run")
    assert done.returncode == 0, done.stderr
    table = MaskTable.open(home / "table")
    assert len(table) == 12
    batch = torch.stack([torch.from_numpy(np.array(Image.open(images / key))).permute(2, 0, 1) for key in table.keys()])
    cells = torch.stack([table[key] for key in table.keys()])
    merged = PatchMerge(p=1.0)(batch, cells)
    assert merged.shape == batch.shape
    assert not torch.equal(merged, batch)
    assert run("masks", "verify", home / "table", "--weights", home / "run").returncode == 0


def test_the_localizer_is_one_like_any_other(chain):
    home, images, _ = chain
    localizer = named_localizer("redo", run=home / "run")
    assert isinstance(localizer, Localizer)
    batch = torch.stack(
        [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in sorted(images.iterdir())]
    )
    heatmaps = localizer.heatmaps(batch)
    assert heatmaps.shape == (12, 16, 16)
    assert 0 <= heatmaps.min() <= heatmaps.max() <= 1
    torch.testing.assert_close(heatmaps, localizer.heatmaps(batch / 255), atol=1e-2, rtol=0)
    torch.testing.assert_close(localizer.cell_scores(batch, 4), heatmaps.unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4)))
    assert localizer.cell_scores(batch[:0]).shape == (0, 4, 4)
    boxes = localizer.boxes(batch)
    assert boxes.shape == (12, 4)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.max() <= 24
    assert identity(localizer)["name"] == "redo"
    assert identity(localizer) == identity(named_localizer("redo", run=str(home / "run" / "redo.pt")))
    assert not localizer.train().network.training
    with pytest.raises(ValueError, match="a grid of 17 x 17 is finer than the run's 16 x 16 map"):
        localizer.cell_scores(batch, 17)
    table = build_masks(images, localizer, home / "direct", quiet=True)
    assert len(table) == 12


def test_images_of_any_shape_keep_their_size(chain, tmp_path):
    home, *_ = chain
    images = tmp_path / "images"
    shapes = {"a/wide": (20, 61), "b/high": (90, 17), "small": (9, 9), "line": (1, 300)}
    for name, shape in shapes.items():
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(256, size=(*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{name}.png")
    (images / "broken.png").write_bytes(b"no image")
    result = segment_folder(images, home / "run", tmp_path / "out", batch_size=2, quiet=True)
    assert (result.done, [failure.key for failure in result.failures]) == (4, ["broken"])
    trained = read_result(home / "run")
    for name, shape in shapes.items():
        mask = read_index_mask(tmp_path / "out" / f"{name}.png")
        assert mask.shape == shape
        alone = index_of(segment_image(trained, Image.open(images / f"{name}.png").convert("RGB")))
        assert (alone == mask).mean() > 0.99


def test_segmenting_resumes(chain, tmp_path):
    home, images, _ = chain
    for attempt in range(2):
        assert segment_folder(images, home / "run", tmp_path, maps=False, quiet=True).done == 12
        if not attempt:
            kept = (tmp_path / "00.png").stat().st_mtime_ns
            (tmp_path / "05.png").unlink()
    assert (tmp_path / "00.png").stat().st_mtime_ns == kept
    assert (tmp_path / "05.png").is_file()
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("redo segment {images} --run {home} -o {out}", "there is no {home}/redo.pt; finish the training"),
        ("redo train {images} -o {home}/run --size 16 --regions 3", "options.regions is 2 there and 3 here"),
        ("redo train {images} -o {out} --size 32", "24 x 24 pixels, less than the 32 that the networks see"),
        ("redo train {images} -o {out} --size 100", "whose side is a power of two, got 100"),
        ("redo train {images} -o {out} --size 16 --batch-size 50", "12 samples do not fill one batch of 50"),
        ("redo evaluate {masks} --truth {images}", "none of 12 masks of {masks} could be compared with {images}"),
        ("redo evaluate {masks} --truth {home}/none", "none is not a folder"),
        ("masks build {images} -o {out} --localizer redo", "--localizer redo needs --run"),
        ("masks build {images} -o {out} --run {home}/run", "--run is not for --localizer random-cnn"),
    ],
)
def test_bad_input_ends_in_one_line(chain, tmp_path, command, message):
    home, images, masks = chain
    names = {"home": home, "images": images, "masks": masks, "out": tmp_path / "out"}
    done = run(*command.format(**names).split())
    assert done.returncode == 2
    assert message.format(**names) in done.stderr
    assert "Traceback" not in done.stderr
