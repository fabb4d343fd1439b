"""The constants of a plan for very many images, measured here, and the plan that follows from them.

    python -m benchmarks.scale --data ../shared/data/ilsvrc_boxes --images 1e9

Times are those of one core (of the process, not of the clock), so that a busy machine does not lengthen them. What is
not measured is an option, and stands in the table as ``assumed``. No GPU is measured.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import numpy as np
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.command import DataError, command, data_root, new_parser, positive
from benchmarks.datasets import DATASETS, find, missing
from benchmarks.records import check_replaceable
from benchmarks.report import Row, publish
from benchmarks.throughput.run import OPEN_TABLE
from tobias_aug import RandomCNN, half_mask
from tobias_aug.images import ImageFiles, KeyList, TarImages, resize_square, to_tensor
from tobias_aug.masks.build.plan import plan_parts
from tobias_aug.masks.table.parts import TableDescription, part_path, write_part

BYTES, DECODE, NETWORK, OPERATIONS = (
    "bytes of an image's file",
    "decode and resize an image, one core",
    "ResNet-50 on an image, fp32, one core",
    "ResNet-50 on an image: operations",
)
ROW, OPENED, KEY, PLAN, HEADER = (
    "a row of a table, in Parquet",
    "a row of a table, opened, in memory",
    "an image's key, in memory",
    "plan an image, one core",
    "find an image in a tar shard, one core",
)


class _Keys:
    """A source that has keys alone, as long as those of ImageNet."""

    def __init__(self, count: int) -> None:
        self.keys = KeyList(f"n{row // 1300:08d}/ILSVRC2012_train_{row:08d}.JPEG" for row in range(count))

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def load(self, index: int, at_least: int | None = None) -> torch.Tensor:
        raise NotImplementedError


def image_folder(root: Path) -> Path:
    """Return a folder of real images below a data folder.

    Raises:
        DataError: if there is none.
    """
    for name in ("ilsvrc", "imagenette"):
        found = find(DATASETS[name], root)
        if found is not None:
            return found.path
    raise DataError(f"{missing(DATASETS['imagenette'], root)}; --data takes any other folder of images too")


def files_of(folder: Path) -> ImageFiles:
    """The images of a folder.

    Raises:
        DataError: if there are none.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; --data takes any folder of images, with folders in it or not")
    return ImageFiles(folder)


def decoding(args: argparse.Namespace) -> Iterator[Row]:
    """Bytes, decoding and the network, on real images."""
    files = files_of(args.data or image_folder(data_root()))
    sizes = [(files.root / key).stat().st_size for key in files.keys]
    yield Row(BYTES, float(np.mean(sizes)), "bytes", n=len(sizes))
    picked = range(0, len(files), max(1, len(files) // args.decoded))
    begun = process_time()
    ready = [resize_square(to_tensor(files.load(index, at_least=224)), 224) for index in picked]
    yield Row(DECODE, 1e3 * (process_time() - begun) / len(picked), "ms", n=len(picked))
    cnn = RandomCNN("resnet50")
    batch = torch.stack(ready[:32])
    with torch.inference_mode():
        cnn.cell_scores(batch[:4])  # The network is fused at its first call.
        begun = process_time()
        cnn.cell_scores(batch)
    yield Row(NETWORK, 1e3 * (process_time() - begun) / len(batch), "ms", n=len(batch))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        torchvision.models.resnet50().eval()(torch.zeros(1, 3, 224, 224))
    yield Row(OPERATIONS, counter.get_total_flops() / 1e9, "GFLOP")


def tables(args: argparse.Namespace) -> Iterator[Row]:
    """Rows on disk and in memory, keys, planning, and headers of shards, all made up."""
    keys, parts = _Keys(args.table_rows), range(0, args.table_rows, 65536)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, start in enumerate(parts):
            names = keys.keys[start : start + 65536]
            scores = torch.from_numpy(random.random((len(names), 4, 4), dtype=np.float32))
            write_part(part_path(folder, number), names, half_mask(scores), scores)
        size = sum(path.stat().st_size for path in folder.glob("part-*"))
        yield Row(ROW, size / args.table_rows, "bytes", n=args.table_rows)
        description = TableDescription({"name": "made up"}, 4, 224, rows=args.table_rows, parts=len(parts))
        description.write(folder / "table.json")
        command = [sys.executable, "-c", OPEN_TABLE, str(folder)]
        opened = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        yield Row(OPENED, 1e6 * float(opened[2]) / args.table_rows, "bytes", n=args.table_rows)
        yield Row(KEY, sum(map(len, keys.keys)) / args.table_rows + 8, "bytes", n=args.table_rows)
        seconds = _seconds(lambda: plan_parts(keys, description, 65536))
        yield Row(PLAN, 1e6 * seconds / args.table_rows, "us", n=args.table_rows)
        members = 20_000
        with tarfile.open(folder / "shard.tar", "w") as archive:
            for number in range(members):
                info = tarfile.TarInfo(f"{number:08d}.jpg")
                info.size = 1000
                archive.addfile(info, io.BytesIO(bytes(1000)))
        seconds = _seconds(lambda: TarImages([str(folder / "shard.tar")]))
        yield Row(HEADER, 1e6 * seconds / members, "us", n=members)


def _seconds(function: Callable[[], object]) -> float:
    begun = process_time()
    function()
    return process_time() - begun


def plan(args: argparse.Namespace, measured: dict[str, float]) -> Iterator[Row]:
    """What the constants mean for ``--images`` images."""
    count = args.images
    rate = args.gpu_peak * 1e3 * args.gpu_share / measured[OPERATIONS]
    gpu_hours = count / rate / 3600
    decode_hours = count * measured[DECODE] / 1e3 / 3600
    yield Row("assumed: fp32 peak of a GPU", args.gpu_peak, "TFLOP/s")
    yield Row("assumed: share of the peak that is reached", 100 * args.gpu_share, "%")
    yield Row("assumed: price of a GPU hour", args.gpu_price, "USD")
    yield Row("assumed: price of a core hour", args.core_price, "USD")
    yield Row("plan: images", count, "images")
    yield Row("plan: bytes to read", count * measured[BYTES] / 1e12, "TB")
    yield Row("plan: decoding", decode_hours, "core hours")
    yield Row("plan: network on CPUs", count * measured[NETWORK] / 1e3 / 3600, "core hours")
    yield Row("plan, assumed: images a second and GPU", rate, "images/s")
    yield Row("plan, assumed: network on GPUs", gpu_hours, "GPU hours")
    yield Row("plan, assumed: cores that feed a GPU", rate * measured[DECODE] / 1e3, "cores")
    yield Row("plan, assumed: cost", gpu_hours * args.gpu_price + decode_hours * args.core_price, "USD")
    yield Row("plan: parts", -(-count // 65536), "parts")
    yield Row("plan: table in Parquet", count * measured[ROW] / 1e9, "GB")
    yield Row("plan: table opened", count * measured[OPENED] / 1e9, "GB")
    yield Row("plan: keys in every rank", count * measured[KEY] / 1e9, "GB")
    yield Row("plan: planning in every rank", count * measured[PLAN] / 1e6 / 3600, "core hours")
    yield Row("plan: headers of tar shards in every rank", count * measured[HEADER] / 1e6 / 3600, "core hours")


@command
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder of real images. Default: ILSVRC's or Imagenette's, if found")
    parser.add_argument("--images", type=float, default=1e9, help="images that the plan is for")
    parser.add_argument("--decoded", "--pictures", type=positive, default=60, help="images to decode")
    parser.add_argument("--table-rows", type=positive, default=500_000, help="rows of the made-up table")
    parser.add_argument("--gpu-peak", type=float, default=60.0, help="assumed TFLOP/s of a GPU in fp32, without TF32")
    parser.add_argument("--gpu-share", type=float, default=0.4, help="assumed share of it that ResNet-50 reaches")
    parser.add_argument("--gpu-price", type=float, default=3.0, help="assumed USD a GPU hour")
    parser.add_argument("--core-price", type=float, default=0.05, help="assumed USD a core hour")
    parser.add_argument("--json", type=Path, help="also store the rows here")
    args = parser.parse_args()
    settings = {key: str(value) for key, value in vars(args).items() if key not in ("json", "data")}
    check_replaceable(args.json, settings)
    torch.set_num_threads(1)
    rows = [*decoding(args), *tables(args)]
    rows += plan(args, {row.name: row.value for row in rows})
    publish(rows, args.json, **settings)


if __name__ == "__main__":
    main()
