"""Find a dataset below a folder, in any of the layouts that it comes in."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import DataError, data_root

OURS, ARCHIVE, TORCHVISION = "this project", "official archive", "torchvision"


@dataclass(frozen=True)
class Layout:
    """One form in which a dataset comes.

    Attributes:
        origin: whose form it is: "this project", "official archive" or "torchvision".
        folders: where it may lie below the data folder, most likely first; "" is the data folder itself, and "*" each
            folder in it.
        marks: patterns below that folder, each of which must match something.
        read: whether the benchmarks read this form. The others are recognized, so that they are not called missing.
    """

    origin: str
    folders: tuple[str, ...]
    marks: tuple[str, ...]
    read: bool = True

    def path_below(self, root: Path) -> Path | None:
        """Return the folder that has this form, or ``None``."""
        for folder in self.folders:
            for path in sorted(root.glob(folder)) if "*" in folder else [root / folder]:
                if path.is_dir() and all(any(path.glob(mark)) for mark in self.marks):
                    return path
        return None

    def looked_for(self) -> str:
        """Return the form as a path, such as ``voc60/{Annotations, JPEGImages}``, with the likeliest folder."""
        folder = f"{self.folders[0]}/" if self.folders[0] else ""
        return folder + (self.marks[0] if len(self.marks) == 1 else f"{{{', '.join(self.marks)}}}")


@dataclass(frozen=True)
class Dataset:
    """A dataset that a benchmark reads.

    Attributes:
        name: as the command line has it.
        title: as its publishers call it.
        benchmarks: that read it, as ``python -m benchmarks.NAME``.
        size: number of images or clips, and bytes of the official archive.
        terms: what it may be used for.
        publisher: who made it.
        layouts: forms that are recognized; where there are several, the first wins.
        get: the command that brings it, or what to do.
        torchvision: the class of ``torchvision.datasets`` that can download it, with the options of each call.
    """

    name: str
    title: str
    benchmarks: tuple[str, ...]
    size: str
    terms: str
    publisher: str
    layouts: tuple[Layout, ...]
    get: str = ""
    torchvision: tuple[str, tuple[dict[str, Any], ...]] | None = None

    def how(self, root: Path) -> str:
        """Return the command that brings it into a folder, or what to do."""
        if not self.torchvision:
            return self.get
        below = "" if root == data_root() else f"--data {shlex.quote(str(root))} "
        return f"python -m benchmarks.data {below}--download {self.name}"

    def looked_for(self) -> str:
        """Return the forms that are read, this project's last, since only its own folder has them."""
        read = sorted((layout for layout in self.layouts if layout.read), key=lambda layout: layout.origin == OURS)
        return "; or ".join(f"{layout.looked_for()} ({layout.origin})" for layout in read)


@dataclass(frozen=True)
class Found:
    """A dataset that is there: its folder, and the form that it has."""

    path: Path
    layout: Layout


def find(dataset: Dataset, root: Path, *, unread: bool = False) -> Found | None:
    """Return where a dataset lies below a folder, or ``None``.

    Args:
        dataset: what is looked for.
        root: a data folder, or the dataset's own folder.
        unread: also return a form that no benchmark reads.
    """
    for layout in dataset.layouts:
        if layout.read or unread:
            path = layout.path_below(root)
            if path is not None:
                return Found(path, layout)
    return None


def locate(name: str, root: Path) -> Found:
    """Return where a dataset lies below a folder.

    Args:
        name: of the dataset, a key of ``DATASETS``.
        root: a data folder, or the dataset's own folder.

    Raises:
        DataError: saying in one line what was looked for, and how to get it.
    """
    return locate_all(root, name)[0]


def locate_all(root: Path, *names: str) -> list[Found]:
    """Return where several datasets lie below a folder.

    Raises:
        DataError: on every one that is missing, in one line.
    """
    from benchmarks.datasets.known import DATASETS

    found = [find(DATASETS[name], root) for name in names]
    if lacking := [DATASETS[name] for name, each in zip(names, found, strict=True) if each is None]:
        raise DataError("; ".join(missing(dataset, root) for dataset in lacking))
    return [each for each in found if each is not None]


def other_layouts(root: Path, *names: str) -> dict[str, str]:
    """Return the setting "layout" of a record whose datasets come in another layout than this project's, else nothing.

    Images of an official archive are larger than this project's copies, so that their runs are no runs of the same
    settings. Records of before have no such setting, and are of this project's layout.
    """
    from benchmarks.datasets.known import DATASETS

    found = {name: find(DATASETS[name], root) for name in names}
    others = [f"{name}: {each.layout.origin}" for name, each in found.items() if each and each.layout.origin != OURS]
    return {"layout": ", ".join(others)} if others else {}


def missing(dataset: Dataset, root: Path) -> str:
    """Return one line that says what was looked for, and how to get it."""
    holds = f"{root} holds no" if root.is_dir() else f"there is no folder {root}, which would hold"
    return (
        f"{holds} {dataset.title}: looked for {dataset.looked_for()}. To get it: {dataset.how(root)}. "
        "All datasets: python -m benchmarks.data"
    )
