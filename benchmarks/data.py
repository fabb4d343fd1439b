"""The datasets of the benchmarks: where each lies, what it is for, its size, its terms, and how to get it.

    python -m benchmarks.data
    python -m benchmarks.data --download mnist usps

Nothing is downloaded without ``--download``, and that only by torchvision, into ROOT. The other datasets name the files
or the command that bring them. Sizes are rough, and terms are those of the publisher, whose page decides.
"""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

from benchmarks.command import DataError, command, data_argument, new_parser
from benchmarks.datasets import DATASETS, Dataset, find


def described(dataset: Dataset, root: Path) -> str:
    """Return some lines on a dataset: found or missing, its use, size, terms and source."""
    found = find(dataset, root, unread=True)
    if found is None:
        state = "missing"
    elif found.layout.read:
        state = f"found at {found.path} (layout: {found.layout.origin})"
    else:
        state = f"found at {found.path} ({found.layout.origin}), a layout that no benchmark reads yet"
    lines = [
        f"{dataset.name}: {state}",
        f"  {dataset.title}; {dataset.size}; terms: {dataset.terms}; from {dataset.publisher}",
        f"  for: {', '.join(dataset.benchmarks) or 'no benchmark yet'}",
        f"  read from: {dataset.looked_for()}",
    ]
    if found is None or not found.layout.read:
        lines.append(f"  get it: {dataset.how(root)}")
    return "\n".join(lines)


def download(dataset: Dataset, root: Path) -> None:
    """Fetch a dataset by torchvision into a folder; what is there is not fetched again.

    Raises:
        DataError: if torchvision cannot, or the download fails.
    """
    if dataset.torchvision is None:
        raise DataError(f"torchvision does not fetch {dataset.title}; instead: {dataset.get}")
    from torchvision import datasets

    name, calls = dataset.torchvision
    root.mkdir(parents=True, exist_ok=True)
    try:
        for options in calls:
            getattr(datasets, name)(root, download=True, **options)
    except (URLError, RuntimeError, OSError) as error:
        raise DataError(f"{dataset.title} could not be downloaded into {root} ({error})") from error


@command
def main() -> None:
    parser = new_parser(__doc__)
    data_argument(parser, "the datasets")
    parser.add_argument("--download", nargs="+", metavar="NAME", default=[], help="fetch these by torchvision")
    args = parser.parse_args()
    if unknown := [name for name in args.download if name not in DATASETS]:
        parser.error(f"no dataset {', '.join(unknown)}; there are {', '.join(DATASETS)}")
    for name in args.download:
        if find(DATASETS[name], args.data) is None:
            download(DATASETS[name], args.data)
    names = args.download or DATASETS
    print(f"datasets below {args.data}; --data ROOT or TOBIAS_AUG_DATA names another folder\n")
    print("\n\n".join(described(DATASETS[name], args.data) for name in names))


if __name__ == "__main__":
    main()
