"""ORANDNet's Table 1 in small: two classifiers, their maps fused, and the network that predicts AND from OR.

    python -m benchmarks.orand --data ../shared/data --work RUNS --json FILE --figure PNG

A laptop takes ``--bed mosaics --classifiers resnet18 cnn --epochs 5 8 --crop 64 --scales 0.5 1 --no-flip --images 700
--steps 120 --map-batch 8 --lr 0.01 --size 48 --padding 1 --width 512 --seeds 3``.

Two classifiers are trained from scratch on ten classes of ImageNet at 128 × 128, without the images that are scored.
``--bed single`` trains and scores on images of one class each, where a blob in the middle scores higher than every map;
``--bed mosaics`` on two images of different classes side by side, with both classes' maps. A seed draws the mosaics (or
the training images), ORANDNet's first weights and its order; the classifiers are trained once.

Scored are images with boxes: pixels of the class's boxes are positive, a pixel is found where the map is above a
threshold, and precision, recall and IoU are those of all pixels of a class, averaged over the classes. Each method has
its own threshold, the one of highest IoU, found on one half of the images and used on the other; beside it stands the
precision at equal recall. Single images are also scored at 0.25, and there without an eighth on each side.

Rows without a network: a blob in the middle of each image; the same blob in the class's own half, which it is told;
the naive ensemble; the ensemble with its classes competing, ``q ** 2 / sum(q)``, alone and times the blob. ``--part
choice`` scores every third image, to choose between methods; ``--part report`` the others. Every stage resumes where it
was stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import nn

from benchmarks.command import DataError, command, data_argument, new_parser
from benchmarks.datasets import OURS, locate_all, other_layouts
from benchmarks.localization.images import image_root
from benchmarks.orand.classifiers import NETWORKS, SIDE, Images, accuracy, trained
from benchmarks.orand.figures import draw_curves, draw_maps
from benchmarks.orand.mosaics import PARTS, Bed, blobs, competing_ensembles, mosaics, single_images
from benchmarks.orand.scores import THRESHOLD, Scores, rows_of, scores_of
from benchmarks.records import check_replaceable, new_record
from benchmarks.report import Row, as_dict, markdown, publish_record
from tobias_aug.cams import class_map_folder
from tobias_aug.images import ImageFiles
from tobias_aug.orand import MapPairs, ORANDNet, apply_orandnet, fuse_folder, fusion_variant
from tobias_aug.orand.loss import VARIANTS
from tobias_aug.runtime.files import write_text

LAYOUT = (
    "--bed single reads imagenette128, all images 128 x 128, and ilsvrc_boxes, with images in one folder per class; "
    "--bed mosaics takes Imagenette of any size and ILSVRC's validation images"
)
# Options of paths, repetitions and devices, which do not change a seed's numbers.
ASIDE = {"data", "work", "json", "figure", "sheet", "device", "seeds", "first_seed"}


def classifiers(args: argparse.Namespace, images: Images, held_out: Images) -> dict[str, tuple[nn.Module, float]]:
    """Train both classifiers; return each with its accuracy on the images held out."""
    found = {}
    for name, epochs in zip(args.classifiers, args.epochs, strict=False):
        options = {"batch_size": args.batch_size, "device": args.device, "precision": args.precision, "crop": args.crop}
        network = trained(name, images, args.work / name, epochs=epochs, seed=0, **options)
        known = args.work / name / "accuracy.json"
        if not known.is_file():
            write_text(known, json.dumps(accuracy(network, held_out, args.device)))
        found[name] = network, json.loads(known.read_text(encoding="utf-8"))
        print(f"{name}: accuracy {found[name][1]:.1f} %", flush=True)
    return found


def make_maps(args: argparse.Namespace, networks: dict[str, nn.Module], bed: Bed, work: Path) -> None:
    """Write both classifiers' maps of the training and the scored images."""
    for name, network in networks.items():
        for part, files in bed.images.items():
            class_map_folder(
                files,
                network,
                work / name / part,
                labels=bed.labels[part],
                input_size=None if bed.count > 1 and name != "vit" else SIDE,
                scales=args.scales if name != "vit" else None,
                flip=args.flip,
                precision=args.precision,
                batch_size=args.batch_size,
                device=args.device,
            )


def fuse_and_train(args: argparse.Namespace, bed: Bed, work: Path, seed: int) -> dict[str, Path]:
    """Fuse the scored images' maps, train ORANDNet with each loss and apply it; return every method's folder."""
    from tobias_aug.orand import train_orandnet
    from tobias_aug.training import launch

    folders = dict(blobs(bed, work))
    if not args.classifiers:
        return folders
    first, second = (work / name for name in args.classifiers)
    fused = {operation: work / operation for operation in ("average", "or", "and")}
    for operation, out in fused.items():
        fuse_folder(first / "scored", second / "scored", out, operation)
    if bed.count > 1:
        folders |= competing_ensembles(bed, fused["average"], work)
    folders |= {name: work / name / "scored" for name in args.classifiers} | fused
    for loss in args.losses:
        run, name = work / f"run-{loss}", f"orandnet-{loss}"
        torch.manual_seed(seed)
        train_orandnet(
            ORANDNet(padding=args.padding, width=args.width, variant=loss),
            MapPairs(first / "train", second / "train", size=args.size, variant=fusion_variant(loss)),
            run,
            steps=args.steps,
            batch_size=args.map_batch,
            lr=args.lr,
            seed=seed,
            checkpoint_every=100,
            fabric=launch(
                accelerator="cuda" if args.device.startswith("cuda") else "cpu",
                precision={"fp32": "32-true", "bf16": "bf16-mixed"}[args.precision],
            ),
        )
        folders[name] = work / name
        scored = first / "scored", second / "scored"
        apply_orandnet(*scored, run, folders[name], device=args.device, precision=args.precision)
    return folders


def options() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    data_argument(parser, "Imagenette, and ILSVRC's validation images")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and maps; a run resumes there")
    parser.add_argument("--bed", choices=["single", "mosaics"], default="single")
    parser.add_argument("--part", choices=PARTS, default="all", help="which of the images with boxes are scored")
    parser.add_argument(
        "--classifiers", nargs="*", choices=list(NETWORKS), default=["resnet18", "vit"], help="two; none scores blobs"
    )
    parser.add_argument("--epochs", type=int, nargs=2, default=[10, 14], help="of the classifiers")
    parser.add_argument("--batch-size", type=int, default=64, help="of the classifiers")
    parser.add_argument("--crop", type=int, help="side in pixels of a CNN's training crops. Default: the network's own")
    parser.add_argument("--scales", type=float, nargs="+", help="of a CNN's maps. Default: 1, 0.5, 1.5 and 2")
    parser.add_argument("--no-flip", dest="flip", action="store_false", help="make maps without the mirror image")
    parser.add_argument("--images", "--pictures", type=int, help="images to train ORANDNet on. Default: all")
    parser.add_argument("--losses", nargs="*", choices=VARIANTS, help="of ORANDNet. Default: those that the bed allows")
    parser.add_argument("--steps", type=int, default=5000, help="of ORANDNet")
    parser.add_argument("--map-batch", type=int, default=1, help="images per batch for ORANDNet")
    parser.add_argument("--lr", type=float, default=1e-3, help="of ORANDNet")
    parser.add_argument("--size", type=int, default=SIDE, help="side in pixels of the maps that ORANDNet sees")
    parser.add_argument("--padding", type=int, default=100, help="of ORANDNet's first convolution")
    parser.add_argument("--width", type=int, default=4096, help="channels of ORANDNet's fc6 and fc7")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="draw precision over recall, of the first seed, into this PNG")
    parser.add_argument("--sheet", type=Path, help="draw maps of some images into this PNG; it shows the dataset")
    return parser


def one_seed(
    args: argparse.Namespace, seed: int, images: Images, networks: dict[str, nn.Module]
) -> dict[str, dict[str, float]]:
    """Return all numbers of one seed, by method; the first seed draws the figures."""
    work = args.work / f"{args.bed}-{args.part}-{seed}"
    if args.bed == "mosaics":
        bed = mosaics(args.data, images, args.images, args.part, seed, work / "images")
    else:
        bed = single_images(args.data, images, args.images, args.part, seed)
    make_maps(args, networks, bed, work)
    folders = fuse_and_train(args, bed, work, seed)
    numbers: dict[str, dict[str, float]] = {}
    curves: dict[str, list[Scores]] = {}
    for method, maps in folders.items():
        numbers[method], curves[method] = scores_of(
            maps, bed.truth, len(images.classes), bed.halves, inside=bed.count == 1
        )
    if args.figure and seed == args.first_seed:
        draw_curves(args.figure, curves)
    if args.sheet and seed == args.first_seed:
        names = bed.halves[0]
        draw_maps(args.sheet, bed.images["scored"].root, folders, names[:: max(1, len(names) // 8)][:8], THRESHOLD)
    return numbers


@command
def main() -> None:
    parser = options()
    args = parser.parse_args()
    if len(args.classifiers) not in (0, 2):
        parser.error(f"--classifiers takes two networks or none, got {len(args.classifiers)}")
    if args.losses is None:
        # The official loss of images of one class is zero, and the competing one is the paper's.
        args.losses = list(VARIANTS) if args.bed == "mosaics" else ["paper"]
    if not args.classifiers:
        args.losses = []
    settings = {key: value for key, value in vars(args).items() if key not in ASIDE}
    settings |= other_layouts(args.data, "imagenette", "ilsvrc")
    check_replaceable(args.json, settings)
    imagenette, boxes = locate_all(args.data, "imagenette", "ilsvrc")
    if args.bed == "single" and {imagenette.layout.origin, boxes.layout.origin} != {OURS}:
        raise DataError(LAYOUT)
    left_out = {Path(key).stem for key in ImageFiles(image_root(boxes.path)).keys}
    images, held_out = (Images(imagenette.path / part, without=left_out) for part in ("train", "val"))
    print(f"{len(images.images)} images to train on, {len(held_out.images)} to test the classifiers on", flush=True)
    found = classifiers(args, images, held_out)
    networks = {name: network for name, (network, _) in found.items()}
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    runs = {seed: one_seed(args, seed, images, networks) for seed in seeds}
    rows = rows_of(list(runs.values()))
    rows += [Row(f"{name}: accuracy of the classifier", value, "%") for name, (_, value) in found.items()]
    print(markdown(rows))
    publish_record({**new_record(settings), "rows": [as_dict(row) for row in rows], "seeds": runs}, args.json)


if __name__ == "__main__":
    main()
