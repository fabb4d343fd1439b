"""Write the committed results into the documents: ``python -m benchmarks.tables``.

Every file of ``benchmarks/results`` becomes a section of ``benchmarks/README.md``. In ``README.md`` and ``docs`` the
lines between ``<!-- results: NAME -->`` and ``<!-- end of results -->`` become the table of ``results/NAME.json``; with
``<!-- results: NAME rows: ONE,TWO -->`` those localizers alone, in that order, or of other benchmarks the rows whose
names, with ``-`` for a space and a comma or colon before it, begin so. With ``--check`` nothing is written, and the
exit status says whether the documents are up to date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.localization_rows import EVERY, ordered_pairs
from benchmarks.orand_figures import NAMES as ORAND_NAMES
from benchmarks.orand_figures import PAPER as ORAND_PAPER
from benchmarks.report import Row, markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(
    r"(?P<head><!-- results: (?P<name>[\w-]+)(?: rows: (?P<rows>[\w,=.-]+))? -->\n)"
    r".*?(?P<tail><!-- end of results -->)",
    re.DOTALL,
)

HEAD = """# Benchmarks

Every number below comes from the run whose command stands above it; `python -m benchmarks.tables` writes this page from
`benchmarks/results/*.json`. Run the same command on your machine: ratios carry over, absolute numbers do not. A
reference is what the value is compared with in the same run, or a limit the library sets itself.
"""


def table(record: dict[str, Any], only: str | None = None) -> str:
    """The rows of a stored run; those of localisation and of ORANDNet as one line a localizer or method."""
    rows = [Row(**row) for row in record["rows"]]
    if "benchmarks.orand " in record["command"]:
        return fused(rows)
    if "localization" not in record["command"]:
        return markdown([row for row in rows if only is None or _begins(row.name, only)])
    lines = localizers(rows, only.split(",") if only else None)
    return lines if only else lines + order(rows, "cub" in record["settings"]["data"].lower())


def _begins(name: str, only: str) -> bool:
    return re.sub(r"[,:]? ", "-", name).startswith(tuple(only.split(",")))


def localizers(rows: list[Row], only: list[str] | None = None) -> str:
    """One line a localizer: the paper's accuracy and ours, and what the paper leaves out; per cent and milliseconds."""
    measured: dict[str, dict[str, Row]] = {}
    for row in rows:
        name, what = row.name.split(": ")
        measured.setdefault(name, {})[what] = row

    def cell(row: Row | None) -> str:
        return "" if row is None else f"{row.value:.1f}" + (f" ± {row.deviation:.1f}" if row.deviation else "")

    columns = ["accuracy", "accuracy, boxes swapped", "mean IoU", "object kept"]
    timed = any("images/s" in found for found in measured.values())
    bins = ("0-10", "10-25", "25-50", "50-75", "75-100")
    titles = [
        "localizer",
        "paper",
        *columns,
        "by object size",
        "seeds",
        *(["ms a picture", "speed, r50 = 1"] if timed else []),
    ]
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for name in only or sorted(measured, key=lambda name: EVERY.index(name) if name in EVERY else len(EVERY)):
        found = measured[name]
        reference = found["accuracy"].reference if "accuracy" in found else None
        cells = [name, "" if reference is None else str(reference), *(cell(found.get(column)) for column in columns)]
        sizes = [found.get(f"accuracy, object {size} % of the picture") for size in bins]
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
        return "" if row is None else f"{row.value:.1f}" + (f" ± {row.deviation:.1f}" if row.deviation else "")

    lines = [f"| method | paper, on VOC | {' | '.join(columns.values())} |", "| --- " * (2 + len(columns)) + "|"]
    for name, found in measured.items():
        cells = [ORAND_NAMES[name], ", ".join(map(str, ORAND_PAPER.get(name, ())))]
        lines.append(f"| {' | '.join(cells + [cell(found.get(what)) for what in columns])} |")
    # Without a deviation there was one run, and n counts its images.
    seeds = max((row.n for row in rows if row.deviation is not None), default=1)
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
    """A run with its command, machine and versions."""
    hardware = record["hardware"]
    machine = hardware["gpu"] or f"{hardware['cpu']}, {hardware['cores']} cores, no GPU"
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items() if version)
    return (
        f"\n## {name}\n\n```bash\n{record['command']}\n```\n\n{machine}; Python {record['python']}, {versions}.\n\n"
        f"{table(record)}\n"
    )


def documents() -> dict[Path, str]:
    """What the documents should say."""
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    page = HEAD + "".join(section(name, record) for name, record in records.items())
    pages = {ROOT / "benchmarks" / "README.md": page}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        pages[path] = filled(path.read_text(encoding="utf-8"), records)
    return pages


def filled(text: str, records: dict[str, Any]) -> str:
    """A document with its tables.

    Raises:
        ValueError: if a mark is not of the form above, and its table would go on unnoticed as it is.
    """
    text, count = MARKED.subn(
        lambda found: found["head"] + table(records[found["name"]], found["rows"]) + "\n" + found["tail"], text
    )
    if count != (marks := text.count("<!-- results:")):
        raise ValueError(f"{marks} tables are marked and {count} understood; see the form in benchmarks/tables.py")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
