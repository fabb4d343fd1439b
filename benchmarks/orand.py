"""ORANDNet's Table 1 in small: two classifiers, their maps fused, and the network that predicts AND from OR.

    python -m benchmarks.orand --data ../shared/data --work RUNS --json FILE --figure PNG

A laptop takes ``--precision bf16 --pictures 4000 --steps 500 --map-batch 16 --size 96 --padding 1 --width 512``.

A ResNet-18 and a small ViT are trained from scratch on ten classes of ImageNet at 128 × 128, without the pictures that
are scored. Their maps of each picture's true class are made: CAM over four scales and the mirror image, and relevance
over the mirror image. ORANDNet is trained on those of the training pictures. Scored are the maps of pictures with
boxes: pixels of the class's boxes are positive, a pixel is found where the map is above a threshold, and precision,
recall and IoU are those of all pixels of a class, averaged over the classes.

The threshold is 0.25 for all, which was fixed before any of these numbers was seen; beside it stands each method's own,
the one of highest IoU, found on one half of the pictures and used on the other; the scores at 0.25 of the pictures'
inside, without an eighth on each side; and the precision at equal recall. Every stage goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.orand_figures import draw_curves, draw_maps
from benchmarks.pictures import SIDE, load
from benchmarks.report import Row, markdown, publish_record, record_of
from benchmarks.small_classifiers import NETWORKS, Pictures, accuracy, trained
from benchmarks.small_classifiers import SIDE as INPUT
from tobias_aug.images.sources import ImageFiles
from tobias_aug.masks.formats import class_map_files, read_class_maps
from tobias_aug.metrics.segmentation import IGNORED, SegmentationScores, ThresholdSweep
from tobias_aug.orand.apply import apply_orandnet
from tobias_aug.orand.cam_folder import class_map_folder
from tobias_aug.orand.folders import fuse_folder
from tobias_aug.orand.image_labels import folder_labels
from tobias_aug.orand.net import ORANDNet
from tobias_aug.orand.pairs import MapPairs
from tobias_aug.orand.pseudo_labels import strongest_class
from tobias_aug.orand.training import train_orandnet
from tobias_aug.training.launch import launch

THRESHOLD = 0.25
# Pixels on each side that the scores "inside" leave out, an eighth of the picture.
BORDER = 28
RECALLS = (80, 60, 40)
SCORES = ("IoU", "precision", "recall")
# mIoU, precision and recall of Table 1, on PASCAL VOC with ResNet-50 and ViT-B/16.
PAPER = {
    "resnet18": (48.3, 66.9, 64.8),
    "vit": (53.4, 67.7, 72.4),
    "average": (49.0, 61.5, 72.2),
    "orandnet": (54.3, 71.0, 70.9),
}


def sweep(folder: Path, truth: dict[str, np.ndarray], classes: int, chosen: list[str]) -> ThresholdSweep:
    """Count the pixels of the chosen pictures at every threshold."""
    counted, files = ThresholdSweep(classes + 1), class_map_files(folder)
    for name in chosen:
        counted.update(*strongest_class(read_class_maps(files[name])), truth[name])
    return counted


def means(scores: SegmentationScores) -> tuple[float, float, float]:
    """IoU, precision and recall, averaged over the classes; background does not count."""
    return tuple(float(np.nanmean(values[1:])) for values in (scores.iou, scores.precision, scores.recall))  # type: ignore[return-value]


def crosswise(halves: list[ThresholdSweep]) -> tuple[tuple[float, float, float], list[float]]:
    """Scores at the threshold of highest IoU, each half's found on the other; and the two thresholds."""
    confusion, thresholds = 0, []
    for here, other in (halves, halves[::-1]):
        best = int(np.argmax([means(scores)[0] for scores in other.scores()]))
        confusion = confusion + here.confusions()[best]
        thresholds.append(float(here.thresholds[best]))
    return means(SegmentationScores.of(confusion)), thresholds  # type: ignore[arg-type]


def without_border(mask: np.ndarray) -> np.ndarray:
    """The mask with its border marked as not to be scored."""
    inside = np.full_like(mask, IGNORED)
    inside[BORDER:-BORDER, BORDER:-BORDER] = mask[BORDER:-BORDER, BORDER:-BORDER]
    return inside


def boxes_as_masks(folder: Path, classes: list[str]) -> dict[str, np.ndarray]:
    """Index masks of the pictures' boxes, 224 × 224, by the picture's path without extension; 0 is background."""
    pictures = load(folder)
    masks = {}
    for path, kind, boxes in zip(pictures.paths, pictures.classes, pictures.boxes, strict=True):
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        for xmin, ymin, xmax, ymax in boxes.round().long().clamp(0, SIDE).tolist():
            mask[ymin:ymax, xmin:xmax] = classes.index(kind) + 1
        masks[path.relative_to(folder / "images").with_suffix("").as_posix()] = mask
    return masks


def make_maps(args: argparse.Namespace, scored: Path) -> tuple[dict[str, float], list[str]]:
    """Train the classifiers, write the maps of the training and the scored pictures; give accuracies and classes."""
    left_out = {Path(key).stem for key in ImageFiles(scored).keys}
    pictures = Pictures(args.data / "imagenette128" / "train", without=left_out)
    held_out = Pictures(args.data / "imagenette128" / "val", without=left_out)
    print(f"{len(pictures.images)} pictures to train on, {len(held_out.images)} to test the classifiers on", flush=True)
    drawn = np.random.default_rng(args.seed).permutation(len(pictures.keys))[: args.pictures]
    mapped = [pictures.keys[index] for index in sorted(drawn)]
    accuracies = {}
    for name, epochs in zip(NETWORKS, args.epochs, strict=True):
        if args.only not in (None, name):
            continue
        options = {"batch_size": args.batch_size, "seed": args.seed, "device": args.device, "precision": args.precision}
        network = trained(name, pictures, args.work / name, epochs=epochs, **options)
        accuracies[name] = accuracy(network, held_out, args.device)
        print(f"{name}: accuracy {accuracies[name]:.1f} %", flush=True)
        for part, files in (
            ("scored", ImageFiles(scored)),
            ("train", ImageFiles(args.data / "imagenette128" / "train", mapped)),
        ):
            class_map_folder(
                files,
                network,
                args.work / "maps" / name / part,
                labels=folder_labels(files)[0],
                input_size=INPUT,
                precision=args.precision,
                batch_size=args.batch_size,
                device=args.device,
            )
    return accuracies, pictures.classes


def fuse_and_train(args: argparse.Namespace) -> dict[str, Path]:
    """Fuse the scored pictures' maps, train ORANDNet on the training pictures' and apply it; give every folder."""
    first, second = (args.work / "maps" / name for name in NETWORKS)
    folders = {name: args.work / "maps" / name / "scored" for name in NETWORKS}
    for operation in ("average", "or", "and"):
        folders[operation] = args.work / "maps" / operation
        fuse_folder(first / "scored", second / "scored", folders[operation], operation)
    accelerator = "cuda" if args.device.startswith("cuda") else "cpu"
    torch.manual_seed(args.seed)
    train_orandnet(
        ORANDNet(padding=args.padding, width=args.width),
        MapPairs(first / "train", second / "train", size=args.size),
        args.work / "orandnet",
        steps=args.steps,
        batch_size=args.map_batch,
        lr=args.lr,
        seed=args.seed,
        checkpoint_every=100,
        fabric=launch(accelerator=accelerator, precision={"fp32": "32-true", "bf16": "bf16-mixed"}[args.precision]),
    )
    folders["orandnet"] = args.work / "maps" / "orandnet"
    apply_orandnet(
        first / "scored",
        second / "scored",
        args.work / "orandnet",
        folders["orandnet"],
        device=args.device,
        precision=args.precision,
    )
    return folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and maps; a run goes on there")
    parser.add_argument("--epochs", type=int, nargs=2, default=[10, 14], help="of the ResNet and of the ViT")
    parser.add_argument("--batch-size", type=int, default=64, help="of the classifiers")
    parser.add_argument("--only", choices=list(NETWORKS), help="train this classifier, make its maps, and stop")
    parser.add_argument("--pictures", type=int, help="so many training pictures for ORANDNet; all where not given")
    parser.add_argument("--steps", type=int, default=5000, help="of ORANDNet")
    parser.add_argument("--map-batch", type=int, default=1, help="images of a batch for ORANDNet")
    parser.add_argument("--lr", type=float, default=1e-3, help="of ORANDNet")
    parser.add_argument("--size", type=int, default=INPUT, help="side in pixels of the maps that ORANDNet sees")
    parser.add_argument("--padding", type=int, default=100, help="of ORANDNet's first convolution")
    parser.add_argument("--width", type=int, default=4096, help="channels of ORANDNet's fc6 and fc7")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="draw precision over recall into this PNG; needs matplotlib")
    parser.add_argument("--sheet", type=Path, help="draw maps of some pictures into this PNG; it shows the data set")
    args = parser.parse_args()
    folder = args.data / "ilsvrc_boxes"
    accuracies, classes = make_maps(args, folder / "images")
    if args.only:
        return
    folders = fuse_and_train(args)
    truth = boxes_as_masks(folder, classes)
    names = sorted(truth)
    inside = {name: without_border(mask) for name, mask in truth.items()}
    rows, curves = [], {}
    for method, maps in folders.items():
        halves = [sweep(maps, truth, len(classes), names[start::2]) for start in (0, 1)]
        both = [means(SegmentationScores.of(each)) for each in sum(half.confusions() for half in halves)]
        middle = sweep(maps, inside, len(classes), names).scores()[int(100 * THRESHOLD)]
        own, thresholds = crosswise(halves)
        curves[method] = both
        for number, score in enumerate(SCORES):
            paper = PAPER[method][number] if method in PAPER else None
            found = both[int(100 * THRESHOLD)][number]
            rows.append(Row(f"{method}: {score} at {THRESHOLD}", found, "%", paper, n=len(names)))
            rows.append(Row(f"{method}: {score} at its own threshold", own[number], "%", n=len(names)))
            rows.append(Row(f"{method}: {score} inside", means(middle)[number], "%", n=len(names)))
        for number, threshold in enumerate(thresholds):
            rows.append(Row(f"{method}: own threshold of half {number + 1}", threshold, "", n=len(names) // 2))
        for recall in RECALLS:
            nearest = min(both, key=lambda scores: abs(scores[2] - recall))
            rows.append(Row(f"{method}: precision at {recall} % recall", nearest[1], "%", n=len(names)))
    rows += [Row(f"{name}: accuracy of the classifier", value, "%") for name, value in accuracies.items()]
    print(markdown(rows))
    keys = "epochs batch_size pictures steps map_batch lr size padding width seed precision".split()  # noqa: SIM905
    record = record_of(None, **{key: getattr(args, key) for key in keys})
    publish_record({**record, "rows": [asdict(row) for row in rows]}, args.json)
    if args.figure:
        draw_curves(args.figure, curves, int(100 * THRESHOLD))
    if args.sheet:
        draw_maps(args.sheet, folder / "images", folders, names[:: len(names) // 8][:8], THRESHOLD)


if __name__ == "__main__":
    main()
