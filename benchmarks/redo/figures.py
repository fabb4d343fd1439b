"""Two figures of a ReDO record: the masks' IoU while it trains, and Figure 4, ReDO beside labeled images.

    python -m benchmarks.redo.figures benchmarks/results/redo-lfw.json --set lfw -o docs/images/redo-lfw.png

No image of the dataset is in them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.command import CommandError, command, new_parser

CONTROLS = ("ellipse", "BorderContrast", "GrabCut", "Otsu")


def curves(record: dict[str, Any], name: str) -> dict[str, list[tuple[int, float, float]]]:
    """Of each ReDO run that scored the validation part: step, IoU and the object's share of the pixels in per cent."""
    found = {}
    for method, seeds in record["runs"].items():
        for seed, run in seeds.items() if method.startswith(f"{name}, ReDO") else ():
            points = [
                (int(step), point["validation"]["none"]["iou"], 100 * point["areas"][point["order"][-1]])
                for step, point in run["curve"].items()
                if "validation" in point
            ]
            if points:
                start = method.removeprefix(f"{name}, ReDO ").split(" (")[0]
                found[f"{start}, {run['settings']['steps']:,} steps, seed {seed}"] = sorted(points)
    return found


def draw(record: dict[str, Any], name: str, path: Path) -> None:
    """Draw both figures side by side as a PNG; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5))
    for label, points in curves(record, name).items():
        steps, iou, areas = zip(*points, strict=True)
        (line,) = left.plot(steps, iou, label=label)
        left.plot(steps, areas, ":", color=line.get_color())
    left.set(xlabel="step, restarts included", ylabel="per cent", title="validation: IoU, and dotted the object's area")
    left.legend(fontsize=7)
    tested = {title: [run["test"]["none"]["iou"] for run in seeds.values()] for title, seeds in record["runs"].items()}
    labeled = {
        int(title.split(", ")[1].split()[0]): values
        for title, values in tested.items()
        if title.startswith(f"{name}, ") and "labeled images" in title
    }
    counts = sorted(labeled)
    right.plot(counts, [sum(labeled[count]) / len(labeled[count]) for count in counts], "o-", label="labeled images")
    names = [each for each in tested if each.startswith(f"{name}, ReDO")]
    styles = ("-", "--", "-.", ":")
    for number, title in enumerate(
        [*names, *(f"{name}, {control}" for control in CONTROLS if f"{name}, {control}" in tested)]
    ):
        mean = sum(tested[title]) / len(tested[title])
        right.axhline(mean, color=f"C{1 + number}", linestyle=styles[number % 4], label=title.removeprefix(f"{name}, "))
    right.set(xlabel="labeled images", ylabel="IoU of the object (%)", title="test", xscale="log")
    right.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


@command
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("record", type=Path, help="JSON of benchmarks.redo, trained with --curve")
    parser.add_argument("--set", dest="name", default="lfw", help="the dataset whose runs are drawn")
    parser.add_argument("-o", "--out", type=Path, required=True, help="PNG")
    args = parser.parse_args()
    record = json.loads(args.record.read_text(encoding="utf-8"))
    if not curves(record, args.name):
        raise CommandError(f"{args.record} has no run of ReDO on {args.name} with a curve; train with --curve")
    draw(record, args.name, args.out)


if __name__ == "__main__":
    main()
