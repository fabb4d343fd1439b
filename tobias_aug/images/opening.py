"""From the path of a dataset to its images: a folder, a list file, tar shards or Parquet files, here or by URL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tobias_aug.errors import ImageError
from tobias_aug.images.datasets import DatasetImages
from tobias_aug.images.keys import as_key
from tobias_aug.images.lists import listed_paths
from tobias_aug.images.origin import ImageOrigin
from tobias_aug.images.parquet import ParquetImages
from tobias_aug.images.paths import ListedImages, absolute, expand, files_below, is_url, path_of, read_bytes
from tobias_aug.images.shards import TarImages
from tobias_aug.images.sources import EXTENSIONS, ImageFiles, ImageSource

SUFFIXES = {"list": (".txt", ".lst"), "tar": (".tar", ".tar.gz", ".tgz"), "parquet": (".parquet", ".pq")}


ImagePath = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def open_images(
    path: ImagePath,
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
        path: where they are. A zip file counts as the folder inside. Several tar or Parquet files may be a Python list,
            or joined by ``::`` as WebDataset does. A Python list of image files is taken as it is.
        kind: "folder", "list", "tar", "parquet", or "auto", which goes by the end of the name and takes a folder where
            that says nothing.
        root: what the lines of a list are relative to. Default: the list's own folder.
        column: of Parquet files, the column of images.
        key_column: of Parquet files, the column of keys.
        keys_by_file: put the name of the tar or Parquet file in front of each key.
        max_pixels: images of more are rejected; see :func:`~tobias_aug.images.decode.open_image`.

    Returns:
        The images; ``origin`` says how they were opened, except for a Python list of image files. Keys are paths below
        the folder, paths as the list gives them, names inside the shards, or as
        :class:`~tobias_aug.images.parquet.ParquetImages` says.

    Raises:
        ImageError: if there are no images, or the path cannot be read.
        ValueError: if ``kind`` is unknown.

    Example:
        >>> len(open_images("shards/train-{000..146}.tar"))  # doctest: +SKIP
        1281167
    """
    if not isinstance(path, (str, os.PathLike)) and not len(path):
        raise ImageError("no images: the list of paths is empty")
    if not isinstance(path, (str, os.PathLike)) and kind in ("auto", "list") and all(map(_is_image, path)):
        return _open_names(dict.fromkeys(map(as_key, path)), root, max_pixels)
    paths = [text for one in ([path] if isinstance(path, (str, os.PathLike)) else path) for text in absolute(one)]
    if kind == "auto":
        kind = _kind(paths[0])
    base = None if root is None else absolute(root)[0]
    source = _open(paths, kind, base, column, key_column, keys_by_file, max_pixels)
    one = paths[0] if len(paths) == 1 else tuple(paths)
    source.origin = ImageOrigin(one, kind, base, column, key_column, keys_by_file, max_pixels)
    return source


def open_origin(origin: ImageOrigin) -> ImageSource:
    """Open images as they were opened before.

    Raises:
        ImageError: if there are none any more, or they cannot be read.
    """
    options = {field.name: getattr(origin, field.name) for field in fields(origin)}
    return open_images(options.pop("path"), **options)


def as_source(images: Any, max_pixels: int | None = None) -> ImageSource:
    """Accept paths as :func:`open_images` takes them, an :class:`ImageSource`, or a dataset with a length.

    Images of more than ``max_pixels`` are rejected; sources and datasets that come ready decode as they do.

    Raises:
        ImageError: if there are no images.
        TypeError: if these are no images, such as several datasets in a mapping, or have no length.
    """
    if isinstance(images, (str, os.PathLike)) or _are_paths(images):
        return open_images(images, max_pixels=max_pixels)
    if isinstance(images, ImageSource) and callable(images.key) and callable(images.load):
        return images
    if isinstance(images, Mapping):
        names = ", ".join(map(str, images)) or "nothing"
        raise TypeError(f"expected one dataset of images, got {type(images).__name__} of {names}; give one of them")
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise TypeError(f"expected a folder or a dataset with a length, got {type(images).__name__}")
    if not len(images):
        raise ImageError(f"no images: the {type(images).__name__} is empty")
    return DatasetImages(images)


def _are_paths(images: Any) -> bool:
    return (
        isinstance(images, (list, tuple))
        and bool(images)
        and all(isinstance(one, (str, os.PathLike)) for one in images)
    )


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
        raise ImageError(
            f"{paths[0]} and {len(paths) - 1} more are no tar or Parquet files; give one folder, one list file, or a "
            "Python list of image files"
        )
    path = paths[0]
    if kind == "list":
        return _open_list(path, root, max_pixels)
    if path_of(path).lower().endswith(".zip") and not Path(path).is_dir():
        if "::" in path and not is_url(path):
            raise ImageError(f"{path} cannot be read, since fsspec takes :: for the end of a path; unpack or move it")
        path = f"zip://::{path}"
    if not is_url(path):
        return ImageFiles(path, None, max_pixels)
    return ListedImages(path, files_below(path, EXTENSIONS), max_pixels, encoded=True)


def _is_image(path: str | os.PathLike[str]) -> bool:
    return os.fsdecode(path).lower().endswith(tuple(EXTENSIONS)) and not Path(path).is_dir()


def _open_names(
    names: Iterable[str], root: str | os.PathLike[str] | None, max_pixels: int | None
) -> ImageFiles | ListedImages:
    """Image files by their names, which are also their keys."""
    names, base = list(names), absolute("." if root is None else root)[0]
    if is_url(base) or any(map(is_url, names)):
        return ListedImages(base, names, max_pixels)
    return ImageFiles(base, names, max_pixels)


def _kind(path: str) -> str:
    if not is_url(path) and Path(path).is_dir():
        return "folder"
    return next((kind for kind, suffixes in SUFFIXES.items() if path_of(path).lower().endswith(suffixes)), "folder")


def _open_list(path: str, root: str | None, max_pixels: int | None) -> ImageFiles | ListedImages:
    """The images that a file lists; see :func:`~tobias_aug.images.lists.listed_paths`."""
    if root is None:
        root = path.rpartition("/")[0] if is_url(path) else str(Path(path).parent)
    try:
        data = read_bytes(path)
    except OSError as error:
        raise ImageError(
            f"the list {path} cannot be read ({error}); give a text file with one path per line"
        ) from error
    keys = listed_paths(data, None if is_url(root) else Path(root))
    if not keys:
        raise ImageError(f"{path} lists no images; give one path per line")
    return _open_names(keys, root, max_pixels)
