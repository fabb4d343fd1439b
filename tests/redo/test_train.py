"""Training: resumed bit for bit, restarted after a collapse, shared by processes, stopped by what is no number."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra train")

from lightning.fabric import Fabric

from tests.redo import two_processes
from tests.redo.scenes import write_scenes
from tobias_aug import TobiasError
from tobias_aug.errors import ImageError
from tobias_aug.redo import ReDOOptions, SquareImages, read_result, train_redo
from tobias_aug.redo.step import ReDOStep

TINY = {
    "size": 16,
    "mask_width": 4,
    "generator_width": 8,
    "discriminator_width": 8,
    "z_size": 3,
    "batch_size": 3,
    "steps": 8,
    "check_every": 3,
    "smallest_region": 0.0,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"))[0]


def trained(images, run, *, precision="32-true", checkpoint_every=2, watch=None, **options):
    fabric = Fabric(accelerator="cpu", precision=precision)
    rhythm = {"checkpoint_every": checkpoint_every, "log_every": 2, "sheet_every": 6}
    return train_redo(images, run, ReDOOptions(**TINY | options), watch=watch, fabric=fabric, **rhythm)


def weights(result):
    return torch.cat([value.flatten() for value in result.network.state_dict().values()])


def stop_at(step):
    def watch(now):
        if now.attempt.step == step:
            raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"redraw": "every", "norm": "instance", "ema": 0.9},
        {"start": "border-contrast", "start_steps": 4, "hold_steps": 2},
    ],
    ids=["paper", "official", "border-contrast"],
)
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(images, tmp_path, options):
    whole = trained(images, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        trained(images, tmp_path / "cut", watch=stop_at(6), **options)
    resumed = trained(images, tmp_path / "cut", **options)
    assert torch.equal(weights(whole), weights(resumed))
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    for one, other in zip(*logs, strict=True):
        one, other = ({**json.loads(line), "step_seconds": 0, "data_seconds": 0} for line in (one, other))
        assert one == other


def test_a_collapse_restarts_with_other_weights_and_is_counted(images, tmp_path, capsys):
    """No region can cover 49.9 % at all times, so that every look is a collapse until the last restart."""
    looked = []
    options = {"smallest_region": 0.4999, "restart_until": 100, "most_restarts": 2}
    with pytest.raises(
        TobiasError, match=r"collapsed 3 times: a region covered less than 0.4999 .* start=border-contr"
    ):
        trained(images, tmp_path, watch=lambda step: looked.append(first_weight(step)), **options)
    assert len(set(looked)) == 3
    said = capsys.readouterr().out
    assert "collapsed, restart 1" in said
    assert "collapsed, restart 3" in said


def first_weight(step):
    return float(next(step.model.mask.parameters()).flatten()[0])


def test_the_steps_before_a_restart_do_not_count(images, tmp_path):
    steps = []
    options = {"smallest_region": 0.4999, "restart_until": 3, "most_restarts": 9, "steps": 7}

    def watch(step):
        steps.append((step.attempt.step, step.attempt.done))
        if len(step.attempt.restarts) == 1:
            step.options = ReDOOptions(**TINY | options | {"smallest_region": 0.0})

    result = trained(images, tmp_path, watch=watch, **options)
    assert [restart["step"] for restart in result.restarts] == [3, 6]
    assert steps[-1] == (13, 7)


def test_a_resumed_restart_is_the_uninterrupted_one(images, tmp_path):
    options = {"smallest_region": 0.4999, "restart_until": 3, "most_restarts": 4}
    found = []
    for name, watch in (("whole", None), ("cut", stop_at(6))):
        with pytest.raises((TobiasError, KeyboardInterrupt)):
            trained(
                images,
                tmp_path / name,
                watch=watch,
                checkpoint_every=1,
                **options,
            )
    with pytest.raises(TobiasError):
        trained(images, tmp_path / "cut", checkpoint_every=1, **options)
    for name in ("whole", "cut"):
        found.append(torch.load(tmp_path / name / "checkpoint.pt", weights_only=True))
    assert found[0]["attempt"] == found[1]["attempt"]
    for one, other in zip(found[0]["model"].values(), found[1]["model"].values(), strict=True):
        assert torch.equal(one, other)


def test_the_background_is_what_covers_the_border_and_the_run_says_so(images, tmp_path):
    result = trained(images, tmp_path, start="border-contrast", start_steps=60, steps=1)
    object_region = result.order[-1]
    assert result.border[object_region] < 0.5 < result.border[result.order[0]]
    stored = torch.load(tmp_path / "redo.pt", weights_only=True)
    assert stored["rule"] == "touches the border least"
    assert read_result(tmp_path).order == result.order


def test_masks_are_held_after_the_start_until_the_others_can_redraw(images, tmp_path):
    seen = {}

    def watch(step):
        seen[step.attempt.done] = first_weight(step)

    trained(images, tmp_path, watch=watch, start="border-contrast", start_steps=3, hold_steps=6, steps=9)
    assert seen[3] == seen[6] == seen[9]
    assert seen[12] != seen[9]


def test_bf16_trains(images, tmp_path):
    result = trained(images, tmp_path, precision="bf16-mixed", steps=2)
    assert weights(result).isfinite().all()
    assert weights(result).dtype == torch.float32


def test_sheets_are_drawn_while_it_trains(images, tmp_path):
    trained(images, tmp_path)
    names = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert names == ["0000006.png", "0000008.png"]
    with Image.open(tmp_path / "sheets" / names[0]) as sheet:
        assert sheet.width > sheet.height / 2


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(images, tmp_path):
    def spoil(step):
        if step.attempt.step == 6:
            with torch.no_grad():
                step.model.mask.pyramid[0].bias.fill_(torch.nan)

    with pytest.raises(TobiasError, match="step 7: the loss .* is no finite number; the last checkpoint is kept"):
        trained(images, tmp_path, watch=spoil)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 6
    assert all(value.isfinite().all() for value in checkpoint["model"].values())


def test_other_options_of_a_run_are_rejected(images, tmp_path):
    trained(images, tmp_path, steps=1)
    with pytest.raises(TobiasError, match="options.regions is 2 there and 3 here"):
        trained(images, tmp_path, steps=1, regions=3)


def test_images_below_the_size_are_rejected_with_a_way_out(tmp_path):
    images, _ = write_scenes(tmp_path, 3, (12, 20))
    with pytest.raises(ImageError, match=r"20 x 12 pixels, less than the 16 .* take a smaller --size"):
        trained(images, tmp_path / "run")


def test_images_of_one_color_are_rejected(tmp_path):
    for number in range(4):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number}.png")
    with pytest.raises(ImageError, match="each of 4 images looked at has one color all over"):
        trained(tmp_path, tmp_path / "run")


def test_a_damaged_image_is_listed_and_left_out(tmp_path):
    images, _ = write_scenes(tmp_path, 4)
    (images / "broken.png").write_bytes(b"no image")
    trained(images, tmp_path / "run", steps=1)
    listed = [json.loads(line) for line in (tmp_path / "run" / "failures.jsonl").read_text().splitlines()]
    assert [failure["key"] for failure in listed] == ["broken.png"]


def test_large_folders_are_read_image_by_image(images):
    held, lazy = (SquareImages(images, 16, in_memory=choice, quiet=True) for choice in (True, False))
    assert len(held) == len(lazy) == 12
    for index in range(12):
        assert torch.equal(held[index], lazy[index])


def test_squares_are_the_middle_of_the_resized_image(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert SquareImages(tmp_path, 16, quiet=True)[0][:, :, 2:-2].unique().tolist() == [200]


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29581"]
    done = subprocess.run([*launch, two_processes.__file__, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_two_processes_descend_the_gradient_of_the_joined_batch(joined, norm):
    """With batch norm each process normalizes by its own half, so that the gradients differ."""
    expected = two_processes.gradients(Fabric(accelerator="cpu"), norm, lambda whole: whole)
    same = [torch.allclose(one, other, rtol=1e-3, atol=1e-5) for one, other in zip(joined[norm], expected, strict=True)]
    assert all(same) == (norm == "instance")


def test_noise_differs_between_processes_and_the_region_does_not(images):
    fabrics = [Fabric(accelerator="cpu") for _ in range(2)]
    sample = torch.stack([SquareImages(images, 16, quiet=True)[index] for index in range(3)])
    steps = [ReDOStep(fabric, ReDOOptions(**TINY), sample, sample) for fabric in fabrics]
    regions = set()
    for number in range(12):
        for step in steps:
            step.attempt.step = number
        draws = [step.draw(2, rank) for rank, step in enumerate(steps)]
        assert draws[0][0] == draws[1][0]
        assert not torch.equal(draws[0][1], draws[1][1])
        regions.add(draws[0][0])
    assert regions == {0, 1}
