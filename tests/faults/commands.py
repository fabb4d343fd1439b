"""Every long command: what it works on, how it is started, and when two results of it are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

from tests.cutouts.scenes import write_coco, write_images
from tests.orand.blobs import write_pairs
from tests.redo.scenes import write_scenes
from tobias_aug import BorderContrast, build_masks
from tobias_aug.class_maps import ClassMaps, write_class_maps
from tobias_aug.gan.result import FILE as GAN
from tobias_aug.irn import net
from tobias_aug.masks.build.builder import UNFINISHED
from tobias_aug.redo import ReDOOptions, result
from tobias_aug.redo.model import ReDOModel

RESULTS = (net.FILE, result.FILE, GAN)


@dataclass(frozen=True)
class LongCommand:
    """A command that a kill must not hurt.

    Attributes:
        kills: how many of the suite's kills are of this command.
        prepare: makes the input in a folder.
        task: the job of the server and its arguments, for input and output.
        complete: what of an output can be read as whole: by name, something to compare.
        status: of a run that ends by itself.
        said: part of what such a run prints.
    """

    name: str
    kills: int
    prepare: Callable[[Path], object]
    task: Callable[[Path, Path], tuple[object, ...]]
    complete: Callable[[Path], dict[str, object]]
    status: int
    said: str


def photos(folder: Path, count: int) -> Path:
    """Noisy small photos, of which one cannot be read."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(folder / f"{number:03d}.png")
    (folder / f"{count // 2:03d}.png").write_bytes(b"broken")
    return folder


def files(out: Path) -> dict[str, object]:
    """Every file that has its own name, byte for byte; a build's note that it has not finished is no result."""
    found = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    # table.json names the command, and so the folder.
    place = str(out).encode()
    return {
        str(path.relative_to(out)): path.read_bytes().replace(place, b"OUT")
        for path in found
        if path.name != UNFINISHED
    }


def training(run: Path) -> dict[str, object]:
    """The checkpoint's step and tensors, the losses logged on whole lines, and the result of IRN, ReDO or a GAN."""
    found: dict[str, object] = {}
    if (run / "checkpoint.pt").is_file():
        stored = torch.load(run / "checkpoint.pt", weights_only=True)
        found["step"] = stored["step"]
        found["tensors"] = _tensors(stored)
    if (run / "log.jsonl").is_file():
        lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        measured = ("step_seconds", "data_seconds")
        found["losses"] = [{name: entry[name] for name in entry if name not in measured} for entry in entries]
    for name in RESULTS:
        if (run / name).is_file():
            found[name] = _tensors(torch.load(run / name, weights_only=True))
    return found


def _tensors(stored: object, name: str = "") -> dict[str, list]:
    """All tensors of nested containers by their place, as what can be compared."""
    if isinstance(stored, torch.Tensor):
        return {name: [str(stored.dtype), tuple(stored.shape), hashlib.sha256(stored.numpy().tobytes()).hexdigest()]}
    if not isinstance(stored, (dict, list, tuple)):
        return {}
    items = stored.items() if isinstance(stored, dict) else enumerate(stored)
    return {place: value for key, item in items for place, value in _tensors(item, f"{name}/{key}").items()}


def _with_table(folder: Path) -> None:
    """Photos of many sizes and their mask table, for the pretraining example."""
    random = np.random.default_rng(0)
    (folder / "photos").mkdir(parents=True)
    for number in range(12):
        coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((40 + 3 * number, 60 - 2 * number), Image.Resampling.BICUBIC).save(
            folder / "photos" / f"{number:02d}.jpg"
        )
    build_masks(folder / "photos", BorderContrast(), folder / "masks", workers=0, quiet=True)


def _pretraining(given: Path, out: Path) -> tuple[object, ...]:
    small = ("--input-size", 32, "--batch-size", 4, "--queue", 8, "--steps", 8, "--workers", 1)
    often = ("--checkpoint-every", 3, "--log-every", 1)
    return "pretrain", given / "photos", "--tobias", given / "masks", "--out", out, *small, *often


SMALL = ("--padding", 1, "--width", 4, "--size", 16, "--batch-size", 2, "--device", "cpu", "--checkpoint-every", 2)


def orand_train(given: Path, out: Path, steps: int = 6) -> tuple[object, ...]:
    return "tobias", "orand", "train", given / "cnn", given / "vit", "-o", out, *SMALL, "--steps", steps


def _orand(command: str) -> Callable[[Path, Path], tuple[object, ...]]:
    def task(given: Path, out: Path) -> tuple[object, ...]:
        folders = {
            "fuse": (given / "cnn", given / "vit"),
            "labels": (given / "cnn", "--low", 0.3),
            "apply": (given / "cnn", given / "vit", "--run", given / "run", "--device", "cpu"),
        }
        return "tobias", "orand", command, *folders[command], "-o", out

    return task


def _with_tables(given: Path) -> None:
    photos(given / "photos", 40)
    for name in ("first", "second"):
        table = build_masks(given / "photos", BorderContrast(), given / name, part_size=8, workers=0, quiet=True)
    (given / "keys.txt").write_text("\n".join(list(table)[::2]) + "\n")


def _concat(given: Path, out: Path) -> tuple[object, ...]:
    tables = (given / "first", given / "second")
    return "tobias", "masks", "concat", *tables, "--prefix", "a/", "--prefix", "b/", "-o", out


def _filter(given: Path, out: Path) -> tuple[object, ...]:
    return "tobias", "masks", "filter", given / "first", "--keys", given / "keys.txt", "-o", out


def _with_maps(given: Path, images: int, *, lost: bool = True) -> None:
    """Images and their class maps, of which one has no image, and a trained IRN."""
    random = np.random.default_rng(0)
    (given / "cams").mkdir(parents=True)
    (given / "photos").mkdir()
    for number in range(images):
        maps = random.random((2, 8, 10), dtype=np.float32)
        write_class_maps(given / "cams" / f"{number}.npz", ClassMaps(np.array([1, 4]), maps, {"stage": "cam"}))
        image = random.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(image).save(given / "photos" / f"{number}.png")
    if lost:
        (given / "photos" / f"{images // 2}.png").unlink()


def _with_irn(given: Path) -> None:
    _with_maps(given, 10)
    (given / "run").mkdir()
    torch.manual_seed(0)
    net.save_irn(given / "run" / net.FILE, net.IRNet(torchvision.models.resnet18()), 64)


def _with_backbone(given: Path) -> None:
    _with_maps(given, 4, lost=False)
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), given / "backbone.pth")


def _with_classifier(given: Path) -> None:
    photos(given / "photos", 36)
    torch.manual_seed(0)
    # What this network says of an image depends, in the last bits, on how many are in the batch.
    torch.save(torchvision.models.shufflenet_v2_x0_5(num_classes=5).state_dict(), given / "classifier.pth")


def _cams(given: Path, out: Path) -> tuple[object, ...]:
    network = ("--arch", "shufflenet_v2_x0_5", "--weights", given / "classifier.pth", "--device", "cpu")
    small = ("--input-size", 48, "--scales", 1, "--batch-size", 16, "--workers", 1)
    return "tobias", "orand", "cams", given / "photos", "-o", out, *network, *small


def _irn_train(given: Path, out: Path) -> tuple[object, ...]:
    network = ("--backbone", "resnet18", "--weights", given / "backbone.pth", "--device", "cpu")
    small = ("--epochs", 2, "--batch-size", 2, "--crop-size", 64, "--checkpoint-every", 2, "--workers", 0)
    return "tobias", "orand", "irn-train", given / "photos", given / "cams", "-o", out, *network, *small


def _irn_apply(given: Path, out: Path) -> tuple[object, ...]:
    return (
        *("tobias", "orand", "irn-apply", given / "photos", given / "cams"),
        *("--run", given / "run", "-o", out, "--device", "cpu"),
    )


def _refine(given: Path, out: Path) -> tuple[object, ...]:
    return "tobias", "orand", "refine", given / "cams", "--images", given / "photos", "-o", out, "--device", "cpu"


SCENES = 14


def _with_scenes(given: Path) -> None:
    write_scenes(given, SCENES)
    (given / "images" / f"{SCENES // 2:02}.png").write_bytes(b"broken")


def _with_redo(given: Path) -> None:
    _with_scenes(given)
    (given / "run").mkdir()
    options = ReDOOptions(size=16, mask_width=4, generator_width=8, discriminator_width=8)
    torch.manual_seed(0)
    network = ReDOModel(options).mask
    found = result.ReDOResult(network, options, order=[1, 0], areas=[0.5, 0.5], border=[0.4, 0.6], restarts=[])
    result.save_result(given / "run" / result.FILE, found)


def _redo_train(given: Path, out: Path) -> tuple[object, ...]:
    small = ("--size", 16, "--width", 8, "--mask-width", 4, "--batch-size", 4, "--z-size", 2, "--device", "cpu")
    often = ("--steps", 8, "--checkpoint-every", 3)
    return "tobias", "redo", "train", given / "images", "-o", out, *small, *often


def _redo_segment(given: Path, out: Path) -> tuple[object, ...]:
    small = ("--batch-size", 4, "--device", "cpu")
    return "tobias", "redo", "segment", given / "images", "--run", given / "run", "-o", out, *small


def _gan_train(given: Path, out: Path) -> tuple[object, ...]:
    small = ("--size", 32, "--width", 8, "--batch-size", 4, "--z-size", 2, "--device", "cpu")
    often = ("--steps", 8, "--checkpoint-every", 3, "--sample-every", 2, "--augment", "color,cutout")
    return "tobias", "gan", "train", given / "images", "-o", out, *small, *often


def _with_coco(given: Path) -> None:
    write_images(given / "images", SCENES)
    write_coco(given / "coco.json", SCENES)
    (given / "images" / f"{SCENES // 2}.png").write_bytes(b"broken")


def _extract(given: Path, out: Path) -> tuple[object, ...]:
    small = ("--min-side", 8, "--min-area", 20, "--agreement", 0)
    return "tobias", "cutouts", "extract", given / "images", "--masks", given / "coco.json", "-o", out, *small


def _damage_one(given: Path, images: int) -> None:
    write_pairs(given, images=images)
    (given / "cnn" / "1.npz").write_bytes(b"damaged")


COMMANDS = [
    LongCommand(
        "masks build, small parts",
        30,
        lambda given: photos(given / "photos", 120),
        lambda given, out: ("build", given / "photos", out, 1),
        files,
        0,
        "",
    ),
    LongCommand(
        "masks build",
        10,
        lambda given: photos(given / "photos", 300),
        lambda given, out: (
            *("tobias", "masks", "build", given / "photos", "-o", out),
            *("--localizer", "border-contrast", "--workers", 2),
        ),
        files,
        1,
        "299 masks of 300 images",
    ),
    LongCommand("masks concat", 3, _with_tables, _concat, files, 0, "78 masks of 2 tables"),
    LongCommand("masks filter", 3, _with_tables, _filter, files, 0, "20 of 39 masks"),
    LongCommand("orand fuse", 16, lambda given: _damage_one(given, 40), _orand("fuse"), files, 1, "39 fused maps"),
    LongCommand("orand labels", 14, lambda given: _damage_one(given, 40), _orand("labels"), files, 1, "39 pseudo mas"),
    LongCommand("orand apply", 10, lambda given: _damage_one(given, 10), _orand("apply"), files, 1, "9 maps"),
    LongCommand(
        "orand train", 10, lambda given: _damage_one(given, 6), orand_train, training, 1, "5 images trained on"
    ),
    LongCommand("orand cams", 6, _with_classifier, _cams, files, 1, "35 class maps"),
    LongCommand("orand refine", 6, lambda given: _with_maps(given, 20), _refine, files, 1, "19 refined maps"),
    LongCommand("orand irn-train", 4, _with_backbone, _irn_train, training, 0, "a trained network"),
    LongCommand("orand irn-apply", 4, _with_irn, _irn_apply, files, 1, "9 refined maps"),
    LongCommand("redo train", 6, _with_scenes, _redo_train, training, 0, "trained with"),
    LongCommand("gan train", 6, _with_scenes, _gan_train, training, 0, "trained for 8 steps"),
    LongCommand("redo segment", 6, _with_redo, _redo_segment, files, 1, "13 masks"),
    LongCommand("cutouts extract", 6, _with_coco, _extract, files, 1, "26 cut-outs"),
    LongCommand("pretraining", 10, _with_table, _pretraining, training, 0, "median step_seconds:"),
]
