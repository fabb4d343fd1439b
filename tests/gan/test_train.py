"""Training: resumed bit for bit, shared by processes, stopped by what is no number, fed from folders and datasets."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra train")

from lightning.fabric import Fabric

from tobias_aug import TobiasError
from tobias_aug.gan import GANOptions, read_result, train_gan

TINY = {"size": 32, "width": 8, "z_size": 4, "batch_size": 4, "steps": 6}
VARIANTS = {
    "dcgan": {"augment": "color,translation,cutout", "flip": True},
    "sagan-orthogonal": {"spectral_norm": "both", "loss": "hinge", "r1": 1.0, "r1_every": 2, "clip": 1.0},
    "resnet18-sa-logan": {"ema": 0.0},
    "logan-b": {},
}


class Noise:
    """Uint8 images in memory."""

    def __init__(self, count=12, size=32):
        self.pixels = torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index].to(torch.uint8)


def trained(images, run, model="dcgan", *, precision="32-true", watch=None, **options):
    options = GANOptions.preset(model, **TINY | options)
    rhythm = {"checkpoint_every": 2, "log_every": 2, "sample_every": 3, "keep_every": 3}
    fabric = Fabric(accelerator="cpu", precision=precision)
    return train_gan(images, run, options, watch=watch, fabric=fabric, **rhythm)


def stop_at(number):
    def watch(step):
        if step.progress.step == number:
            raise KeyboardInterrupt

    return watch


def weights(network):
    return torch.cat([value.double().flatten() for value in network.state_dict().values()])


def cutouts(folder, count=8, mode="RGBA"):
    """Write red squares on transparent ground."""
    folder.mkdir()
    for number in range(count):
        pixels = np.zeros((20 + number, 24, len(mode)), np.uint8)
        pixels[4:12, 4:12] = [200, 30, 30, 255][: len(mode)]
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize(("model", "options"), VARIANTS.items())
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(tmp_path, model, options):
    whole = trained(Noise(), tmp_path / "whole", model, **options)
    with pytest.raises(KeyboardInterrupt):
        trained(Noise(), tmp_path / "cut", model, watch=stop_at(3), **options)
    resumed = trained(Noise(), tmp_path / "cut", model, **options)
    assert torch.equal(weights(whole.generator), weights(resumed.generator))
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "cut"))
    for name in one["model"]:
        assert torch.equal(one["model"][name], other["model"][name])
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    for one, other in zip(*logs, strict=True):
        one, other = ({**json.loads(line), "step_seconds": 0, "data_seconds": 0} for line in (one, other))
        assert one == other


def test_every_network_moves(tmp_path):
    before = {}

    def watch(step):
        for name, value in step.model.named_parameters():
            if step.progress.step == 1:
                before[name] = value.detach().clone()
            elif step.progress.step == 5:
                same = [name for name, value in step.model.named_parameters() if torch.equal(before[name], value)]
                assert not same

    trained(Noise(), tmp_path, "logan-b", watch=watch)
    assert before


def test_samples_come_from_the_mean_of_the_weights(tmp_path):
    seen = {}

    def watch(step):
        seen["same"] = torch.equal(weights(step.generator), weights(step.model.generator))
        assert not any(parameter.requires_grad for parameter in step.generator.parameters())

    result = trained(Noise(), tmp_path, watch=watch)
    assert seen == {"same": False}
    assert not result.generator.training


def test_sheets_and_generators_are_kept_while_it_trains(tmp_path):
    result = trained(Noise(), tmp_path)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["0000003.png", "0000006.png"]
    (kept,) = (tmp_path / "generators").iterdir()
    assert read_result(kept).step == 3
    assert read_result(tmp_path).step == result.step == 6


def test_transparent_pixels_take_the_color(tmp_path):
    result = trained(cutouts(tmp_path / "cutouts"), tmp_path / "run", steps=1)
    assert result.sample(2).shape == (2, 3, 32, 32)
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["images"]["background"] == [51, 255, 51]


def test_a_damaged_image_is_listed_and_left_out(tmp_path):
    images = cutouts(tmp_path / "cutouts")
    (images / "broken.png").write_bytes(b"no image")
    trained(images, tmp_path / "run", steps=1)
    listed = [json.loads(line) for line in (tmp_path / "run" / "failures.jsonl").read_text().splitlines()]
    assert [failure["key"] for failure in listed] == ["broken.png"]


def test_bf16_trains(tmp_path):
    result = trained(Noise(), tmp_path, precision="bf16-mixed", steps=1)
    assert weights(result.generator).isfinite().all()


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path):
    def spoil(step):
        if step.progress.step == 4:
            with torch.no_grad():
                next(step.model.generator.parameters()).fill_(torch.nan)

    with pytest.raises(
        TobiasError, match=r"step 5: the loss .* is no finite number; the last checkpoint is kept. Take lower .* folder"
    ):
        trained(Noise(), tmp_path, watch=spoil)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 4
    assert all(value.isfinite().all() for value in checkpoint["model"].values())
    assert not (tmp_path / "gan.pt").exists()


def test_fewer_images_than_a_batch_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="3 samples do not fill one batch of 4 on 1 processes; use a smaller batch"):
        trained(Noise(3), tmp_path)


def test_images_of_another_size_are_rejected_with_a_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(3, 16, 16\); the networks see uint8 of shape \(3, 32, 32\): resize"):
        trained(Noise(size=16), tmp_path)


def test_other_options_of_a_run_are_rejected(tmp_path):
    trained(Noise(), tmp_path, steps=1)
    with pytest.raises(TobiasError, match="options.clip is 0.0 there and 1.0 here"):
        trained(Noise(), tmp_path, steps=1, clip=1.0)


def test_an_unfinished_run_has_no_result(tmp_path):
    with pytest.raises(FileNotFoundError, match="finish the training by the same tobias-aug gan train command"):
        read_result(tmp_path)


def test_another_file_is_no_result(tmp_path):
    torch.save({"mask": 1}, tmp_path / "gan.pt")
    with pytest.raises(ValueError, match="is no result of tobias-aug gan train"):
        read_result(tmp_path)
