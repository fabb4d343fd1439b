"""From the place of a data set to its images: a folder, a list file, tar shards or Parquet files, here or by URL."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from tobias_aug.errors import ImageError
from tobias_aug.images.parquet import ParquetImages
from tobias_aug.images.places import ListedImages, expand, file_system, is_url, read_bytes
from tobias_aug.images.shards import TarImages
from tobias_aug.images.sources import EXTENSIONS, ImageFiles, ImageSource

SUFFIXES = {"list": (".txt", ".lst"), "tar": (".tar", ".tar.gz", ".tgz"), "parquet": (".parquet", ".pq")}


def open_images(
    place: str | os.PathLike[str],
    kind: str = "auto",
    *,
    root: str | None = None,
    column: str = "image",
    key_column: str | None = None,
    keys_by_file: bool = False,
    max_pixels: int | None = None,
) -> ImageSource:
    """Open the images at a place: a path, an fsspec URL, or a pattern such as ``s3://bucket/shard-{000..999}.tar``.

    Args:
        place: where they are.
        kind: "folder", "list", "tar", "parquet", or "auto", which goes by the end of the name and takes a folder where
            that says nothing.
        root: what the lines of a list are relative to; the list's own folder where not given.
        column: of Parquet files, the column of images.
        key_column: of Parquet files, the column of keys.
        keys_by_file: put the name of the tar or Parquet file in front of each key.
        max_pixels: pictures of more are refused; see :func:`~tobias_aug.images.decode.open_image`.

    Returns:
        The images. Keys are paths below the folder, lines of the list, names inside the shards, or as
        :class:`~tobias_aug.images.parquet.ParquetImages` says.

    Raises:
        ImageError: if there are no images, or the place cannot be read.
        ValueError: if ``kind`` is unknown.

    Example:
        >>> len(open_images("shards/train-{000..146}.tar"))  # doctest: +SKIP
        1281167
    """
    name = os.fspath(place)
    if kind == "auto":
        kind = _kind(name)
    if kind == "folder":
        return (
            ListedImages(name, _files_below(name), max_pixels) if is_url(name) else ImageFiles(name, None, max_pixels)
        )
    if kind == "list":
        return _open_list(name, root, max_pixels)
    if kind == "tar":
        return TarImages(expand(name, SUFFIXES["tar"]), keys_by_file, max_pixels)
    if kind == "parquet":
        return ParquetImages(expand(name, SUFFIXES["parquet"]), column, key_column, keys_by_file, max_pixels)
    raise ValueError(f"unknown kind of images {kind!r}; choose auto, folder, {', '.join(SUFFIXES)}")


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


def _open_list(place: str, root: str | None, max_pixels: int | None) -> ImageSource:
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
