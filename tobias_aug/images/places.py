"""Places of files: paths and fsspec URLs, one or many, read without keeping anything open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import product
from typing import Any

from PIL import Image

from tobias_aug.errors import ImageError
from tobias_aug.images.decode import read_rgb
from tobias_aug.images.keys import KeyList
from tobias_aug.images.origin import ImageOrigin

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def is_url(place: str) -> bool:
    """Whether a place is an fsspec URL, for example ``s3://bucket/photos``, and not a path."""
    return "://" in place


def file_system(place: str) -> tuple[Any, str]:
    """The fsspec file system of a place and the place's path there.

    A source keeps places alone and asks for the file system at every read: fsspec keeps one a process, so that
    a loader worker never shares its parent's connections.
    """
    from fsspec.core import url_to_fs

    system, path = url_to_fs(place)
    return system, path


def read_bytes(place: str, start: int | None = None, end: int | None = None) -> bytes:
    """The bytes of a file from ``start`` up to ``end``; all where not given."""
    system, path = file_system(place)
    return bytes(system.cat_file(path, start=start, end=end))


def expand(pattern: str, suffixes: tuple[str, ...]) -> list[str]:
    """The files that a pattern stands for: first its braces, ``{000..010}`` or ``{a,b}``, then ``*``, ``?`` and ``[]``.

    A folder stands for the files below it that end in one of ``suffixes``. Braces keep their order; files found by
    looking are sorted.

    Raises:
        ImageError: if there are no such files.
    """
    found: list[str] = []
    for place in _without_braces(pattern):
        system, path = file_system(place)
        if system.isdir(path):
            matches = sorted(match for match in system.find(path) if match.endswith(suffixes))
        elif any(letter in path for letter in "*?["):
            matches = sorted(system.glob(path))
        else:
            matches = [path] if system.isfile(path) else []
        if not matches:
            raise ImageError(f"no files at {place}; give a file, a folder, or a pattern such as shard-{{000..010}}.tar")
        found += [str(system.unstrip_protocol(match)) if is_url(place) else match for match in matches]
    return found


def _without_braces(pattern: str) -> Iterator[str]:
    """Every combination of the alternatives in a pattern's braces; a range keeps the zeros of its first number."""
    pieces = _BRACES.split(pattern)
    choices: list[list[str]] = []
    for number, piece in enumerate(pieces):
        span = _RANGE.fullmatch(piece)
        if number % 2 == 0:
            choices.append([piece])
        elif span:
            first, last = span.groups()
            choices.append([str(value).zfill(len(first)) for value in range(int(first), int(last) + 1)])
        else:
            choices.append(piece.split(","))
    yield from map("".join, product(*choices))


class ListedImages:
    """Image files named one by one, below a folder or an fsspec URL; a key is the name as given.

    Args:
        root: what the names are relative to.
        keys: the names, for example ``cat/01.jpg``.
        max_pixels: pictures of more are refused; see :func:`~tobias_aug.images.decode.open_image`.

    Raises:
        ImageError: if there are no names.
    """

    origin: ImageOrigin | None = None

    def __init__(self, root: str, keys: Iterable[str], max_pixels: int | None = None) -> None:
        self.root, self.keys, self.max_pixels = root.rstrip("/"), KeyList(keys), max_pixels
        if not len(self.keys):
            raise ImageError(f"no images below {root} are listed; give one path a line")

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def load(self, index: int, at_least: int | None = None) -> Image.Image:
        key = self.keys[index]
        data = read_bytes(key if is_url(key) else f"{self.root}/{key}")
        return read_rgb(BytesIO(data), at_least, self.max_pixels)
