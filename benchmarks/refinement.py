"""What refinement gains and costs, on images of PASCAL VOC whose true masks were made coarse and shifted.

    python -m benchmarks.refinement --data ../shared/data --json FILE

Every third of the images: the masks of its classes are reduced to cells of 16 pixels and shifted by 8, then refined.
Rows without refinement are of the best of four thresholds. Maps refined by PAMR are cut at 0.3, those of the dense CRF
at 0.5, and labels are made at 0.3 before they are refined. Seconds are CPU time of one thread per image, means over the
images; for IRN those of a network with random weights, whose edges cost the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from time import process_time

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

from benchmarks.command import DataError, command, data_argument, new_parser
from benchmarks.datasets import locate, other_layouts
from benchmarks.records import check_replaceable
from benchmarks.report import Row, publish
from tobias_aug.class_maps import ClassMaps, index_mask, read_index_mask, resize_maps
from tobias_aug.images import read_rgb
from tobias_aug.irn import IRNet, random_walk
from tobias_aug.metrics import SegmentationConfusion
from tobias_aug.refine import refine_class_maps, refine_labels

Sample = tuple[np.ndarray, np.ndarray, ClassMaps]
THRESHOLDS = (0.2, 0.3, 0.4, 0.5)


def coarse_maps(truth: np.ndarray, cell: int = 16, shift: int = 8) -> ClassMaps:
    """Return coarse maps of an index mask's classes: means of cells, each over its maximum, shifted down and right."""
    classes = np.setdiff1d(truth, [0, 255])
    masks = torch.from_numpy((truth == classes[:, None, None]).astype(np.float32))
    cells = F.adaptive_avg_pool2d(masks, [-(-side // cell) for side in truth.shape])
    cells /= cells.amax((1, 2), keepdim=True)
    maps = np.roll(resize_maps(cells, truth.shape).numpy(), (shift, shift), (1, 2))
    return ClassMaps(classes.astype(np.int64) - 1, maps)


def read_samples(voc: Path, every: int) -> list[Sample]:
    """Return image, true mask and coarse maps of every ``every``-th image of a VOC tree.

    Raises:
        DataError: if there are no masks.
    """
    samples = []
    masks = next(
        (path for name in ("SegmentationClassAug", "SegmentationClass") if (path := voc / name).is_dir()), None
    )
    if masks is None:
        raise DataError(f"{voc} holds neither SegmentationClassAug nor SegmentationClass, the masks of VOC's images")
    for path in sorted(masks.glob("*.png"))[::every]:
        truth = read_index_mask(path)
        samples.append((np.asarray(read_rgb(voc / "JPEGImages" / f"{path.stem}.jpg")), truth, coarse_maps(truth)))
    return samples


def refined_labels(image: np.ndarray, maps: ClassMaps, method: str) -> np.ndarray:
    """Return the index mask at 0.3, refined as labels."""
    pixels = np.concatenate([[0], maps.keys + 1]).astype(np.uint8)
    indices = np.searchsorted(pixels, index_mask(maps, 0.3))
    refined: np.ndarray = pixels[refine_labels(indices, image, len(pixels), method)]
    return refined


def scored(samples: list[Sample], predict: Callable[[np.ndarray, ClassMaps], np.ndarray]) -> tuple[float, float]:
    """Return the mean IoU of the predicted masks, and CPU seconds per image."""
    confusion, seconds = SegmentationConfusion(21), []
    for image, truth, maps in samples:
        start = process_time()
        predicted = predict(image, maps)
        seconds.append(process_time() - start)
        confusion.update(predicted, truth)
    return confusion.scores().mean_iou, mean(seconds)


def irn_seconds(samples: list[Sample]) -> tuple[float, float]:
    """Return CPU seconds per image of the edges by a ResNet-50, and of the walk between them."""
    torch.manual_seed(0)
    network, edge_seconds, walk_seconds = IRNet(torchvision.models.resnet50()).eval(), [], []
    for image, _, maps in samples:
        start = process_time()
        edges = network.edges(torch.from_numpy(image.copy()).permute(2, 0, 1))
        middle = process_time()
        small = F.interpolate(torch.from_numpy(maps.maps)[None], edges.shape[-2:], mode="bilinear")[0]
        random_walk(small, edges)
        edge_seconds.append(middle - start)
        walk_seconds.append(process_time() - middle)
    return mean(edge_seconds), mean(walk_seconds)


def rows_of(samples: list[Sample]) -> list[Row]:
    """Return the mean IoU without and with each refinement, and the CPU time of each."""
    count = len(samples)
    plain = max(scored(samples, lambda _, maps, at=at: index_mask(maps, at))[0] for at in THRESHOLDS)  # type: ignore[misc]
    methods: dict[str, Callable[[np.ndarray, ClassMaps], np.ndarray]] = {
        "PAMR on maps": lambda image, maps: index_mask(refine_class_maps(maps, image), 0.3),
        "PAMR on labels": lambda image, maps: refined_labels(image, maps, "pamr"),
    }
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError:
        print("no rows of the dense CRF: pip install 'tobias-aug[crf]'", flush=True)
    else:
        methods |= {
            "dense CRF on maps": lambda image, maps: index_mask(refine_class_maps(maps, image, "crf"), 0.5),
            "dense CRF on labels": lambda image, maps: refined_labels(image, maps, "crf"),
        }
    rows = [Row("no refinement: mean IoU", plain, "%", n=count)]
    for name, predict in methods.items():
        iou, seconds = scored(samples, predict)
        rows += [Row(f"{name}: mean IoU", iou, "%", plain, iou / plain, count)]
        rows += [Row(f"{name}: CPU time", seconds, "s", n=count)]
    edges, walk = irn_seconds(samples)
    return [
        *rows,
        Row("IRN, edges of a ResNet-50: CPU time", edges, "s", n=count),
        Row("IRN, random walk: CPU time", walk, "s", n=count),
    ]


@command
def main() -> None:
    parser = new_parser(__doc__)
    data_argument(parser, "PASCAL VOC 2012")
    parser.add_argument("--every", type=int, default=3, help="take every EVERY-th of the images")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = {"every": args.every} | other_layouts(args.data, "voc")
    check_replaceable(args.json, settings)
    # CPU time of several threads would count each of them.
    torch.set_num_threads(1)
    publish(rows_of(read_samples(locate("voc", args.data).path, args.every)), args.json, **settings)


if __name__ == "__main__":
    main()
