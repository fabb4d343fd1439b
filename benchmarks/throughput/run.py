"""Speed as ratios, ours against the peer or the limit, in one run.

    python -m benchmarks.throughput --quick
    python -m benchmarks.throughput --data ROOT --only masks merge

No dataset is needed: ``masks`` and ``collate`` read crops of scikit-image's photographs where it is installed, else
made-up images. ``--images FOLDER`` takes the user's own, ``--data ROOT`` Imagenette, as the committed records do.
``--quick`` is a trial of some sections in a minute or two, with few images and a ResNet-18.

``masks``   ``masks build`` end to end against the bare network on ready tensors (same network, dtype and layout),
            and against the published script's way: one image at a time, NCHW, fp32, Pillow's resize.
``merge``   ``PatchMerge`` against ``clone`` and torchvision's ``CutMix``; see ``benchmarks/throughput/merge.py``.
``mixing``  every mix against those of torchvision, timm and kornia; see ``benchmarks/throughput/mixing.py``.
``online``  a training step of ResNet-50 with masks made inside it against one without; see
            ``benchmarks/throughput/online.py``.
``localizers``  cell scores by ``BorderContrast`` against an untrained ResNet-50.
``table``   opening a made-up ``MaskTable``, looking up a key, resident memory.
``collate`` one training step fed by ``TobiasCollate`` against one fed by lightly's ``MultiViewCollate``, reading,
            augmentation and step one after the other in one process, so that nothing hides behind anything.
``orand``   fusing pairs of class maps from file to file against reading and writing their bytes; see
            ``benchmarks/throughput/orand.py``.
``cut_paste``  ``CutPaste`` against albumentations' ``OverlayElements`` and a copy of the image; see
            ``benchmarks/throughput/cut_paste.py``.
``redo``    a training step of ReDO against a plain loop and in bf16, and ``redo segment`` against the bare network; see
            ``benchmarks/throughput/redo.py``. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

from benchmarks.command import DataError, command, needs, new_parser, positive
from benchmarks.datasets import other_layouts
from benchmarks.records import check_replaceable
from benchmarks.report import Row, interleaved, publish, rate_row, time_row
from benchmarks.throughput.cut_paste import cut_paste
from benchmarks.throughput.images import image_folders
from benchmarks.throughput.merge import merge
from benchmarks.throughput.mixing import mixing
from benchmarks.throughput.online import online
from benchmarks.throughput.orand import orand
from benchmarks.throughput.redo import redo
from tobias_aug import BorderContrast, RandomCNN, build_masks, half_mask
from tobias_aug.images import ImageFiles, resize_square, to_tensor
from tobias_aug.masks import Localizer
from tobias_aug.masks.table.parts import TableDescription, part_path, write_part
from tobias_aug.runtime.devices import full_precision

# What --quick changes of the options that are not given.
QUICK_SECTIONS = ["masks", "merge", "localizers", "table"]
QUICK = {"only": QUICK_SECTIONS, "arch": "resnet18", "count": 16, "rounds": 1, "table_rows": 50_000}
# Of the section collate.
BATCHES, BATCH = 4, 64


def masks(args: argparse.Namespace) -> Iterator[Row]:
    """Rates on the same images, taking turns: end to end, bare, and as the published script does it."""
    everything = ImageFiles(args.masks_from)
    picked = np.random.default_rng(args.seed).permutation(len(everything))[: args.count]
    files = ImageFiles(everything.root, [everything.keys[int(n)] for n in sorted(picked)])
    ready = torch.stack([resize_square(to_tensor(files.load(n, 224)), 224) for n in range(len(files))])
    cells = {}
    for precision in ("fp32", "bf16"):
        cnn = RandomCNN(args.arch, precision=precision).to(args.device)
        batches = ready.to(args.device).split(args.batch_size if args.device != "cpu" else 4)
        inputs = [cnn._prepare(batch) for batch in batches]
        network = cnn._network_for(ready.to(args.device))
        cells[precision] = torch.cat([half_mask(cnn.cell_scores(batch)) for batch in batches])

        def end_to_end(cnn: RandomCNN = cnn) -> None:
            with tempfile.TemporaryDirectory() as folder:
                build_masks(files, cnn, folder, batch_size=args.batch_size, device=args.device, quiet=True)

        def bare(network: nn.Module = network, inputs: list[torch.Tensor] = inputs) -> None:
            with torch.inference_mode(), full_precision(torch.device(args.device)):
                for batch in inputs:
                    network(batch)

        seconds = interleaved(
            {"ours": end_to_end, "bare": bare, "published": published_way(args, files)}, args.rounds, args.device
        )
        yield rate_row(
            f"masks build, {precision}, against the bare network", seconds["ours"], seconds["bare"], len(files)
        )
        yield rate_row(
            f"masks build, {precision}, against one by one", seconds["ours"], seconds["published"], len(files)
        )
    moved = (cells["fp32"] & ~cells["bf16"]).flatten(1).sum(1)
    yield Row("kept cells that bf16 changes", 100 * float(moved.float().mean()) / 8, "%", n=len(files))
    yield Row("images in which bf16 changes a cell", 100 * float((moved > 0).float().mean()), "%", n=len(files))


def published_way(args: argparse.Namespace, files: ImageFiles) -> Callable[[], None]:
    """One image at a time: Pillow's resize, ToTensor, Normalize, the network in NCHW and fp32, scores to a list."""
    network = torchvision.models.get_model(args.arch, weights=None).eval()
    trunk = nn.Sequential(*list(network.children())[:-2], nn.MaxPool2d(2, 2, padding=1)).to(args.device)
    prepare = torchvision.transforms.Compose(
        [
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    def run() -> None:
        with torch.no_grad():
            for key in files.keys:
                image = Image.open(files.root / key).convert("RGB").resize((224, 224))
                trunk(prepare(image)[None].to(args.device)).sum(1).tolist()

    return run


def localizers(args: argparse.Namespace) -> Iterator[Row]:
    images = torch.randint(256, (64, 3, 224, 224), dtype=torch.uint8, device=args.device)
    named: dict[str, Localizer] = {
        "RandomCNN(resnet50)": RandomCNN("resnet50").to(args.device),
        "BorderContrast(color-texture)": BorderContrast(),
        "BorderContrast(random-convolution)": BorderContrast("random-convolution"),
    }
    functions = {name: partial(_score, localizer, images) for name, localizer in named.items()}
    seconds = interleaved(functions, args.rounds, args.device)
    for name in list(named)[1:]:
        row = time_row(f"{name}, 64 images, against RandomCNN(resnet50)", seconds[name], seconds["RandomCNN(resnet50)"])
        yield row


def _score(localizer: Localizer, images: torch.Tensor) -> None:
    with torch.inference_mode():
        for batch in images.split(16):
            localizer.cell_scores(batch)


OPEN_TABLE = """
import gc, random, sys, time
from tobias_aug import MaskTable
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
import pyarrow.parquet, torch
before, begun = resident(), time.perf_counter()
table = MaskTable.open(sys.argv[1])
opened = time.perf_counter() - begun
gc.collect()
memory = resident() - before
keys = random.Random(0).sample(range(len(table)), min(20_000, len(table)))
keys = [table.keys()[row] for row in keys]
begun = time.perf_counter()
for key in keys:
    table[key]
print(opened, (time.perf_counter() - begun) / len(keys) * 1e6, memory)
"""


def table(args: argparse.Namespace) -> Iterator[Row]:
    """Each opening in a process of its own; the references are the limits the library sets itself."""
    rows, part_size = args.table_rows, 16384
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = np.random.default_rng(args.seed)
        for number, start in enumerate(range(0, rows, part_size)):
            numbers = range(start, min(rows, start + part_size))
            keys = [f"n{row // 1300:08d}/ILSVRC2012_train_{row:08d}.JPEG" for row in numbers]
            scores = torch.from_numpy(random.random((len(keys), 4, 4), dtype=np.float32))
            write_part(part_path(folder, number), keys, half_mask(scores), scores)
        parts = -(-rows // part_size)
        TableDescription({"name": "made up"}, 4, 224, rows=rows, parts=parts).write(folder / "table.json")
        measured = []
        for _ in range(args.rounds):
            command = [sys.executable, "-c", OPEN_TABLE, str(folder)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            measured.append([float(number) for number in printed.split()])
        limits = (("open", "s", 1.5), ("look a key up", "us", 5.0), ("resident memory added", "MB", 150.0))
        for (what, unit, limit), values in zip(limits, zip(*measured, strict=True), strict=True):
            value = median(values)
            yield Row(f"MaskTable of {rows:,} rows: {what}", value, unit, limit, value / limit, len(values))


def collate(args: argparse.Namespace) -> Iterator[Row]:
    from lightly.data import LightlyDataset, MultiViewCollate
    from lightly.transforms import MoCoV2Transform

    from tobias_aug.integrations.lightly import TobiasCollate

    root = args.collate_from
    views = MoCoV2Transform(input_size=112)
    plain, images = LightlyDataset(str(root), transform=views), LightlyDataset(str(root))
    if len(plain) < BATCHES * BATCH:
        raise DataError(
            f"{root} has {len(plain)} images, {BATCHES * BATCH} are wanted; --images FOLDER or --data ROOT brings more"
        )
    batches = np.random.default_rng(args.seed).permutation(len(plain))[: BATCHES * BATCH].reshape(BATCHES, BATCH)
    network = torchvision.models.resnet18(num_classes=128).to(args.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)

    def step(dataset: Any, collate: Any) -> None:
        for batch in batches:
            both, _, _ = collate([dataset[int(index)] for index in batch])
            first, second = (view.to(args.device, memory_format=torch.channels_last) for view in both)
            with torch.no_grad():
                keys = network(second)
            loss = (network(first) - keys).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    with tempfile.TemporaryDirectory() as folder:
        files = ImageFiles(root, sorted(plain.get_filenames()[int(index)] for index in batches.ravel()))
        stored = build_masks(files, RandomCNN("resnet18"), folder, device=args.device, quiet=True)
        ours, theirs = TobiasCollate(stored, views), MultiViewCollate()
        seconds = interleaved(
            {"tobias": lambda: step(images, ours), "plain": lambda: step(plain, theirs)}, args.rounds, args.device
        )
    per_step = {name: [value / len(batches) for value in values] for name, values in seconds.items()}
    yield time_row("step fed by TobiasCollate p=0.3, against MultiViewCollate", per_step["tobias"], per_step["plain"])


@command
def main() -> None:
    parser = new_parser(__doc__)
    sections = {
        "masks": masks,
        "merge": merge,
        "mixing": mixing,
        "online": online,
        "localizers": localizers,
        "table": table,
        "collate": collate,
        "orand": orand,
        "cut_paste": cut_paste,
        "redo": redo,
    }
    parser.add_argument("--only", nargs="+", choices=sections, help="Default: all whose modules are installed")
    parser.add_argument("--quick", action="store_true", help="a trial of some sections in a minute or two")
    parser.add_argument("--images", metavar="FOLDER", help="images for masks and collate. Default: some are made")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="folder that holds Imagenette, for masks and collate")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--count", type=positive, default=256, help="images per round of --only masks")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--table-rows", type=positive, default=1_280_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also store the rows here")
    args = parser.parse_args()
    if args.images is not None and args.images.isdecimal() and int(args.images) and not Path(args.images).exists():
        warnings.warn("--images takes a folder; the number of images is --count", FutureWarning, stacklevel=2)
        args.count, args.images = int(args.images), None
    if args.quick:
        for key, value in QUICK.items():
            if getattr(args, key) == parser.get_default(key):
                setattr(args, key, value)
    chosen = args.only is not None
    args.only = args.only or list(sections)
    with tempfile.TemporaryDirectory() as scratch:
        settings = settings_of(args, Path(scratch))
        rows: list[Row] = []
        torch.manual_seed(args.seed)
        for name in args.only:
            try:
                rows += sections[name](args)
            except ModuleNotFoundError as error:
                if chosen or (needed := needs(error)) is None:
                    raise
                print(f"no rows of {name}: {needed}", flush=True)
        publish(rows, args.json, **settings)


def settings_of(args: argparse.Namespace, scratch: Path) -> dict[str, str]:
    """Return the settings of a record, and note in ``args`` where the images are, once it is free for them."""
    names = ("only", "device", "arch", "count", "batch_size", "rounds", "table_rows", "seed")
    settings = {key.replace("count", "images"): str(getattr(args, key)) for key in names}
    # Records of other images say so; those that were made before have no such word.
    given = Path(args.images) if args.images is not None else None
    read = not {"masks", "collate"}.isdisjoint(args.only)
    if read and (given or args.data is None):
        settings["source"] = given.name if given else "made on the spot"
    elif read:
        settings |= other_layouts(args.data, "imagenette")
    check_replaceable(args.json, settings)
    if read:
        count = max(args.count, BATCHES * BATCH if "collate" in args.only else 0)
        title, args.masks_from, args.collate_from = image_folders(given, args.data, scratch, count, args.seed)
        print(f"images: {title}", flush=True)
    return settings


if __name__ == "__main__":
    main()
