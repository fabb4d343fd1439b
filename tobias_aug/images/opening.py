"""From the place of a data set to its images: a folder, a list file, tar shards or Parquet files, here or by URL."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tobias_aug.errors import ImageError
from tobias_aug.files import local_path
from tobias_aug.images.origin import ImageOrigin
from tobias_aug.images.parquet import ParquetImages
from tobias_aug.images.places import ListedImages, expand, file_system, is_url, read_bytes
from tobias_aug.images.shards import TarImages
from tobias_aug.images.sources import EXTENSIONS, ImageFiles, ImageSource

SUFFIXES = {"list": (".txt", ".lst"), "tar": (".tar", ".tar.gz", ".tgz"), "parquet": (".parquet", ".pq")}


def open_images(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    kind: str = "auto",
    *,
    root: str | os.PathLike[str] | None = None,
    column: str = "image",
    key_column: str | None = None,
    keys_by_file: bool = False,
    max_pixels: int | None = None,
) -> ImageSource:
    """Open the images at a path, an fsspec URL, or a pattern such as ``s3://bucket/shard-{000..999}.tar``.

    A local path becomes absolute, with ``~`` for the home folder, so that a later change of folder does no harm.

    Args:
        path: where they are; several tar or Parquet files may be a list, or joined by ``::`` as WebDataset does.
        kind: "folder", "list", "tar", "parquet", or "auto", which goes by the end of the name and takes a folder where
            that says nothing.
        root: what the lines of a list are relative to. Default: the list's own folder.
        column: of Parquet files, the column of images.
        key_column: of Parquet files, the column of keys.
        keys_by_file: put the name of the tar or Parquet file in front of each key.
        max_pixels: images of more are rejected; see :func:`~tobias_aug.images.decode.open_image`.

    Returns:
        The images; ``origin`` says how they were opened. Keys are paths below the folder, lines of the list, names
        inside the shards, or as :class:`~tobias_aug.images.parquet.ParquetImages` says.

    Raises:
        ImageError: if there are no images, or the path cannot be read.
        ValueError: if ``kind`` is unknown.

    Example:
        >>> len(open_images("shards/train-{000..146}.tar"))  # doctest: +SKIP
        1281167
    """
    paths = _absolute(path)
    if kind == "auto":
        kind = _kind(paths[0])
    base = None if root is None else _absolute(root)[0]
    one = paths[0] if len(paths) == 1 else tuple(paths)
    source = _open(paths, kind, base, column, key_column, keys_by_file, max_pixels)
    source.origin = ImageOrigin(one, kind, base, column, key_column, keys_by_file, max_pixels)
    return source


def _open(
    paths: list[str],
    kind: str,
    root: str | None,
    column: str,
    key_column: str | None,
    keys_by_file: bool,
    max_pixels: int | None,
) -> ImageFiles | ListedImages | TarImages | ParquetImages:
    if kind in ("tar", "parquet"):
        files = [file for path in paths for file in expand(path, SUFFIXES[kind])]
        if kind == "tar":
            return TarImages(files, keys_by_file, max_pixels)
        return ParquetImages(files, column, key_column, keys_by_file, max_pixels)
    if kind not in ("folder", "list"):
        raise ValueError(f"unknown kind of images {kind!r}; choose auto, folder, {', '.join(SUFFIXES)}")
    if len(paths) > 1:
        raise ImageError(f"{paths[0]} and {len(paths) - 1} more are no tar or Parquet files; give one folder or list")
    if kind == "list":
        return _open_list(paths[0], root, max_pixels)
    if is_url(paths[0]):
        return ListedImages(paths[0], _files_below(paths[0]), max_pixels)
    return ImageFiles(paths[0], None, max_pixels)


def _absolute(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """The paths in what a user gave: local ones absolute, several after one another."""
    if isinstance(path, (str, os.PathLike)):
        path = [path]
    return [text if is_url(text) else str(local_path(text)) for text in [os.fsdecode(one) for one in path]]


def _kind(place: str) -> str:
    if not is_url(place) and Path(place).is_dir():
        return "folder"
    return next((kind for kind, suffixes in SUFFIXES.items() if place.lower().endswith(suffixes)), "folder")


def _files_below(url: str) -> list[str]:
    """Keys of the image files below a URL, sorted."""
    system, path = file_system(url.rstrip("/"))
    found = [file for file in system.find(path) if PurePosixPath(file).suffix.lower() in EXTENSIONS]
    if not found:
        raise ImageError(f"{url} holds no images; looked for {', '.join(sorted(EXTENSIONS))} at any depth")
    return sorted(file[len(path.rstrip("/")) + 1 :] for file in found)


def _open_list(place: str, root: str | None, max_pixels: int | None) -> ImageFiles | ListedImages:
    """One path a line, kept in this order; empty lines are skipped."""
    lines = [os.fsdecode(line.rstrip(b"\r")) for line in read_bytes(place).split(b"\n")]
    keys = [line for line in lines if line]
    if root is None:
        root = place.rpartition("/")[0] if is_url(place) else str(Path(place).parent)
    if not keys:
        raise ImageError(f"{place} lists no images; give one path a line")
    if is_url(root) or any(map(is_url, keys)):
        return ListedImages(root, keys, max_pixels)
    return ImageFiles(root, keys, max_pixels)
