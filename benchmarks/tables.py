"""Write the committed results into the documents: ``python -m benchmarks.tables``.

Every file of ``benchmarks/results`` becomes a section of ``benchmarks/README.md``. In ``README.md`` and ``docs`` the
lines between ``<!-- results: NAME -->`` and ``<!-- end of results -->`` become the table of ``results/NAME.json``; with
``<!-- results: NAME rows: ONE,TWO -->`` those localizers alone, in that order, or of other benchmarks the rows whose
names, with ``-`` for a space and a comma or colon before it, begin so. With ``--check`` nothing is written, and the
exit status says whether the documents are up to date.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.command import command, new_parser
from benchmarks.localization.rows import EVERY, ordered_pairs
from benchmarks.orand.figures import NAMES as ORAND_NAMES
from benchmarks.orand.figures import PAPER as ORAND_PAPER
from benchmarks.records import read_record
from benchmarks.report import Row, markdown
from benchmarks.ssl.tables import one_line_per_run

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(
    r"(?P<head><!-- results: (?P<name>[\w-]+)(?: rows: (?P<rows>[\w,=.-]+))? -->\n)"
    r".*?(?P<tail><!-- end of results -->)",
    re.DOTALL,
)

HEAD = """# Benchmarks

Every number below comes from a run whose command stands above it; `python -m benchmarks.tables` writes this page from
`benchmarks/results/*.json`. Run the same command on your machine: ratios carry over, absolute numbers do not. A
reference is what the value is compared with in the same run, a limit the library sets itself, or a paper's number. The
last stands only beside runs with the paper's settings; rows of other settings are called a reduced run. Of the paper's
images the localization sections have a part, and say how many. `n` counts the runs, images or rounds behind a value.

## Run them

In a clone of the repository:

```bash
python -m benchmarks
python -m benchmarks.data
python -m benchmarks.data --download mnist usps
python -m benchmarks.throughput --quick
python -m benchmarks.adaptation --data ROOT --method source,mcd --json FILE
```

The first lists the benchmarks, with the paper's table that each repeats. The second lists the datasets: what each is
for, its size and terms, where it is found or missing, and how to get it. `--data ROOT` names their folder. Default: the
environment variable `TOBIAS_AUG_DATA`, else `../shared/data` if it is there, else a cache folder. Below it each dataset
may lie as its official archive unpacks or as torchvision stores it. Nothing is downloaded without `--download`.

The commands below name `../shared/data`, a folder of small copies; records of official archives say so in `layout`.
Throughput needs no dataset. Its committed record is of Imagenette, which was its default then; `--data ROOT` takes it.

## Records

A record holds for every run its settings, and the command, versions and machine that made it. Where a record was begun
before that was so, the page says that they were stored once for a file. A file that `--json` names is continued by runs
of the same settings, and never replaced by others. `python -m benchmarks.runs merge` joins two records.
"""


def table(record: dict[str, Any], only: str | None = None) -> str:
    """The rows of a stored run; those of localization and of ORANDNet as one line a localizer or method."""
    rows = [Row(**row) for row in record["rows"]]
    if record["benchmark"] == "benchmarks.orand":
        return fused(rows)
    if record["benchmark"].startswith("benchmarks.ssl"):
        return one_line_per_run(record, [row for row in rows if only is None or _begins(row.name, only)])
    if record["benchmark"] != "benchmarks.localization":
        return markdown([row for row in rows if only is None or _begins(row.name, only)])
    lines = localizers(rows, only.split(",") if only else None)
    paper = record["settings"]["paper"]
    return lines if only or paper == "none" else lines + order(rows, paper == "cub")


def _begins(name: str, only: str) -> bool:
    return re.sub(r"[,:]? ", "-", name).startswith(tuple(only.split(",")))


def localizers(rows: list[Row], only: list[str] | None = None) -> str:
    """One line a localizer: the paper's accuracy and ours, and what the paper leaves out; per cent and milliseconds."""
    measured: dict[str, dict[str, Row]] = {}
    for row in rows:
        name, what = row.name.split(": ")
        measured.setdefault(name, {})[what] = row

    def cell(row: Row | None) -> str:
        return "" if row is None else f"{row.value:.1f}" + (f" ± {row.std:.1f}" if row.std else "")

    columns = ["accuracy", "accuracy, boxes swapped", "mean IoU", "object kept"]
    timed = any("images/s" in found for found in measured.values())
    bins = ("0-10", "10-25", "25-50", "50-75", "75-100")
    titles = [
        "localizer",
        "paper",
        *columns,
        "by object size",
        "seeds",
        *(["ms an image", "speed, r50 = 1"] if timed else []),
    ]
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for name in only or sorted(measured, key=lambda name: EVERY.index(name) if name in EVERY else len(EVERY)):
        found = measured[name]
        reference = found["accuracy"].reference if "accuracy" in found else None
        cells = [name, "" if reference is None else str(reference), *(cell(found.get(column)) for column in columns)]
        sizes = [found.get(f"accuracy, object {size} % of the image") for size in bins]
        cells.append(" / ".join(f"{row.value:.0f}" if row else "-" for row in sizes) if any(sizes) else "")
        cells.append(str(next(row.n for what, row in found.items() if what != "images/s")))
        if timed:
            speed = found.get("images/s")
            cells += [f"{1000 / speed.value:.3g}", f"{speed.ratio:.3g}"] if speed and speed.ratio else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fused(rows: list[Row]) -> str:
    """One line per method of ORANDNet's Table 1: the paper's numbers and ours; per cent, means over the seeds."""
    measured: dict[str, dict[str, Row]] = {}
    for row in rows:
        name, what = row.name.split(": ")
        measured.setdefault(name, {})[what] = row
    scores = ("IoU", "precision", "recall")
    columns = {f"{score} at its own threshold": f"{score}, own threshold" for score in scores}
    columns |= {f"{score} {place}": f"{score} {place}" for place in ("at 0.25", "inside") for score in scores}
    columns |= {f"precision at {recall} % recall": f"precision at {recall} % recall" for recall in (80, 60, 40)}
    columns |= {"accuracy of the classifier": "accuracy of the classifier"}
    columns = {what: title for what, title in columns.items() if any(what in found for found in measured.values())}

    def cell(row: Row | None) -> str:
        return "" if row is None else f"{row.value:.1f}" + (f" ± {row.std:.1f}" if row.std else "")

    lines = [f"| method | paper, on VOC | {' | '.join(columns.values())} |", "| --- " * (2 + len(columns)) + "|"]
    for name, found in measured.items():
        cells = [ORAND_NAMES[name], ", ".join(map(str, ORAND_PAPER.get(name, ())))]
        lines.append(f"| {' | '.join(cells + [cell(found.get(what)) for what in columns])} |")
    # Without a std there was one run, and n counts its images.
    seeds = max((row.n for row in rows if row.std is not None), default=1)
    said = f"Means and standard deviations over {seeds} seeds" if seeds > 1 else "One run"
    return "\n".join([*lines, "", f"{said}; the paper's three numbers are IoU, precision and recall."])


def order(rows: list[Row], on_cub: bool) -> str:
    """Whether the rows stand in the paper's order, wherever that is more than chance, and which rows do not."""
    accuracy = {row.name.removesuffix(": accuracy"): row.value for row in rows if row.name.endswith(": accuracy")}
    pairs = list(ordered_pairs(accuracy, on_cub))
    if not pairs:
        return ""
    lost = [pair for pair in pairs if accuracy[pair[0]] >= accuracy[pair[1]]]
    said = (
        f"\n\nOf {len(pairs)} pairs of rows whose accuracies in the paper differ by more than two standard deviations, "
        f"{len(pairs) - len(lost)} stand in the paper's order here"
    )
    blamed = []
    while lost:
        # The row of most pairs that are left answers for them.
        name, count = Counter(chain(*lost)).most_common(1)[0]
        blamed.append(f"{name} {count}")
        lost = [pair for pair in lost if name not in pair]
    return f"{said}. Out of order stand, with their number of pairs: {', '.join(blamed)}." if blamed else f"{said}."


def section(name: str, record: dict[str, Any]) -> str:
    """A record with its commands, machines, versions and seeds."""
    images = record["settings"].get("images") if record["benchmark"] == "benchmarks.localization" else None
    counted = f"{images:,} images of {record['settings']['data']}.\n\n" if images else ""
    return f"\n## {name}\n\n{made_by(record)}{counted}{table(record)}\n"


def made_by(record: dict[str, Any]) -> str:
    """The commands of a record by machine and versions, each group with the runs or rows that it made."""
    groups: dict[str, list[str]] = {}
    for number, origin in record["origins"].items():
        groups.setdefault(stamp(origin), []).append(number)
    parts = []
    for line, numbers in groups.items():
        commands = dict.fromkeys(
            command for number in numbers for command in record["origins"][number]["command"].splitlines()
        )
        made = (
            made_runs(record, numbers)
            if "runs" in record
            else made_rows(record, numbers)
            if groups.keys() - {line}
            else ""
        )
        parts.append("```bash\n" + "\n".join(commands) + f"\n```\n\n{line}{made}\n\n")
    return "".join(parts)


def stamp(origin: dict[str, Any]) -> str:
    """A line on machine and versions."""
    hardware = origin["hardware"]
    threads = f"{hardware['threads']} thread{'s' * (hardware['threads'] > 1)}"
    machine = hardware["gpu"] or f"{hardware['cpu']}, {hardware['cores']} cores, {threads}, no GPU"
    versions = ", ".join(f"{package} {version}" for package, version in origin["versions"].items() if version)
    once = " Stored once for the file, by the last of these commands." if origin.get("of_file") else ""
    return f"{machine}; Python {origin['python']}, {versions}.{once}"


def made_runs(record: dict[str, Any], numbers: list[str]) -> str:
    """Which runs some origins made, by their seeds, or seeds and folds."""
    made = {
        name: [key for key, run in runs.items() if set(run["origins"]) & set(numbers)]
        for name, runs in record["runs"].items()
    }
    said = [f"{name} {', '.join(keys)}" for name, keys in made.items() if keys]
    kind = "seed-fold" if record["benchmark"] == "benchmarks.between_class_sound" else "seed"
    return f" Runs by {kind}: {'; '.join(said)}." if said else ""


def made_rows(record: dict[str, Any], numbers: list[str]) -> str:
    """Which localizers some origins measured; speeds apart."""
    made: dict[str, list[str]] = {"Rows": [], "Speeds": []}
    for row in record["rows"]:
        name, what = row["name"].split(": ")
        names = made["Speeds" if what == "images/s" else "Rows"]
        if row.get("origin") in numbers and name not in names:
            names.append(name)
    return "".join(f" {kind}: {', '.join(names)}." for kind, names in made.items() if names)


def documents() -> dict[Path, str]:
    """What the documents should say."""
    records = {path.stem: read_record(path) for path in sorted(RESULTS.glob("*.json"))}
    page = HEAD + "".join(section(name, record) for name, record in records.items())
    pages = {ROOT / "benchmarks" / "README.md": page}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        pages[path] = filled(path.read_text(encoding="utf-8"), records)
    return pages


def told(records: dict[str, Any], name: str, only: str | None) -> str:
    """The table of a record, or that there is none: trainings of days are asked for before they are finished."""
    if name not in records and name.startswith("worth-"):
        return "No run is finished yet."
    return table(records[name], only)


def filled(text: str, records: dict[str, Any]) -> str:
    """A document with its tables.

    Raises:
        ValueError: if a mark is not of the form above, and its table would stay as it is, unnoticed.
    """
    text, count = MARKED.subn(
        lambda found: found["head"] + told(records, found["name"], found["rows"]) + "\n" + found["tail"], text
    )
    if count != (marks := text.count("<!-- results:")):
        raise ValueError(f"{marks} tables are marked and {count} understood; see the form in benchmarks/tables.py")
    return text


@command
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args().check
    stale = [
        path for path, text in documents().items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if check and stale:
        sys.exit(f"not up to date: {', '.join(str(path.relative_to(ROOT)) for path in stale)}; run benchmarks.tables")
    for path in stale:
        path.write_text(documents()[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
