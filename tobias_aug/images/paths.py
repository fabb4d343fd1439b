"""Paths and fsspec URLs of files, one or many, read without keeping anything open."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from PIL import Image

from tobias_aug.errors import ImageError
from tobias_aug.images.braces import without_braces
from tobias_aug.images.decode import read_rgb
from tobias_aug.images.keys import KeyList, as_key
from tobias_aug.images.named_bytes import NamedBytes
from tobias_aug.images.origin import ImageOrigin
from tobias_aug.runtime.files import local_path

# What fsspec puts before another URL: archives with a path of their own, and caches without one.
_CHAINED = re.compile(r"(zip|tar|libarchive|reference|simplecache|filecache|blockcache|cached)(://|$)")
_SERVE = "download the file, or serve it from a server that answers range requests"
_WEB = ("http://", "https://")


def is_url(path: str) -> bool:
    """Whether this is an fsspec URL, for example ``s3://bucket/photos``, and not a path of this machine."""
    return "://" in path or bool(_CHAINED.fullmatch(path.partition("::")[0]) and "::" in path)


def absolute(path: str | os.PathLike[str]) -> list[str]:
    """The absolute paths and URLs in what a user gave: one, or several joined by ``::`` as WebDataset joins them.

    A chain of fsspec, such as ``zip://cat/1.jpg::photos.zip`` or ``simplecache::s3://bucket/a.tar``, is one URL.
    """
    pieces = os.fsdecode(path).split("::")
    found: list[str] = []
    while pieces:
        links: list[str] = []
        while _CHAINED.match(pieces[0]) and pieces[1:]:
            links.append(pieces.pop(0))
        rest = "::".join(pieces)
        if is_url(rest) or not local_path(rest).exists():  # A folder may be called "a::b".
            rest = pieces[0]
        pieces = pieces[rest.count("::") + 1 :]
        found.append("::".join([*links, rest if is_url(rest) else str(local_path(rest))]))
    return found


def file_system(path: str) -> tuple[Any, str]:
    """The fsspec file system of a path or URL, and the path there.

    A source keeps paths alone and asks for the file system at every read: fsspec keeps one per process, so that
    a loader worker never shares its parent's connections.

    Raises:
        ImageError: if it is in an archive that is none, or is damaged.
    """
    from fsspec import filesystem
    from fsspec.core import url_to_fs

    if not is_url(path):
        return filesystem("file"), path
    try:
        with ranges_needed(path):
            system, inside = url_to_fs(path)
    except (OSError, ImportError, ValueError):
        raise
    except Exception as error:  # Each kind of archive has errors of its own, such as BadZipFile.
        raise ImageError(f"{path} cannot be opened ({type(error).__name__}: {error}); is it whole?") from error
    return system, inside


@contextmanager
def ranges_needed(path: str) -> Iterator[None]:
    """Raise what fsspec says of a web server that sends whole files alone as an ``ImageError`` with a way out."""
    try:
        yield
    except ValueError as error:
        if "range request" not in str(error):
            raise
        raise ImageError(f"the server of {path} ignores ranges; {_SERVE}") from error


def read_bytes(path: str, start: int | None = None, end: int | None = None) -> bytes:
    """The bytes of a file from ``start`` up to ``end``. Default: all.

    Raises:
        ImageError: if there are fewer, or more because a server ignored the range.
        OSError: if the file is missing or cannot be read.
    """
    system, inside = file_system(path)
    return _read(system, inside, path, start, end)


def _read(system: Any, inside: str, name: str, start: int | None = None, end: int | None = None) -> bytes:
    try:
        data = bytes(system.cat_file(inside, start=start, end=end))
    except OSError:
        raise
    except Exception as error:  # Archives and networks raise errors of their own: BadZipFile, ClientPayloadError, ...
        raise ImageError(f"{name} cannot be read ({type(error).__name__}: {error})") from error
    if start is None or end is None or len(data) == end - start:
        return data
    if len(data) > end - start:
        raise ImageError(
            f"the server of {name} ignores ranges: asked for {end - start} bytes it sent {len(data)}; {_SERVE}"
        )
    raise ImageError(f"{name} ends early: {len(data)} of the {end - start} bytes at {start} are there; fetch it again")


def expand(pattern: str | os.PathLike[str], suffixes: tuple[str, ...]) -> list[str]:
    """The files that a pattern stands for: first its braces, ``{000..010}`` or ``{a,b}``, then ``*``, ``?`` and ``[]``.

    What exists as it is written is taken as it is written, so that a folder may be called ``photos [v2]``. A folder
    stands for the files below it that end in one of ``suffixes``. Braces keep their order; files found by looking are
    sorted.

    Raises:
        ImageError: if there are no such files.
    """
    found: list[str] = []
    for whole in absolute(pattern):
        for path in [whole] if _exists(whole) else without_braces(whole):
            found += _matches(path, suffixes)
    return found


def _exists(path: str) -> bool:
    # Only a path with braces may stand for others, so no other needs a look here.
    if "{" not in path:
        return True
    system, inside = file_system(path)
    return bool(system.exists(inside))


def _matches(path: str, suffixes: tuple[str, ...]) -> list[str]:
    system, inside = file_system(path)
    if system.isdir(inside):
        matches = sorted(match for match in system.find(inside) if match.lower().endswith(suffixes))
    elif system.isfile(inside):
        return [path]
    elif any(letter in inside for letter in "*?["):
        matches = sorted(system.glob(_escaped(system, inside)))
    else:
        matches = []
    if not matches:
        raise ImageError(f"no files at {path}; give a file, a folder, or a pattern such as shard-{{000..010}}.tar")
    return [_with_protocol(system, path, match) for match in matches]


def _escaped(system: Any, inside: str) -> str:
    """The pattern, where the folders in front that exist as they are written stand for themselves."""
    parts = inside.split("/")
    for count in range(len(parts) - 1, 0, -1):
        folder = "/".join(parts[:count])
        if any(letter in folder for letter in "*?[") and system.isdir(folder):
            return "/".join([glob.escape(folder), *parts[count:]])
    return inside


def _with_protocol(system: Any, url: str, match: str) -> str:
    """A match of the file system as a URL like the one it was found by."""
    if not is_url(url):
        return match
    head, chain, tail = url.partition("::")
    if chain and "://" in head:
        return f"{head.partition('://')[0]}://{match.lstrip('/')}::{tail}"
    return f"{head}::{_with_protocol(system, tail, match)}" if chain else str(system.unstrip_protocol(match))


def file_names(paths: Sequence[str]) -> list[str]:
    """What to call files in keys: their names, or where two have one name, their paths below the folder of all.

    Raises:
        ImageError: if one file is there twice.
    """
    if len(set(paths)) < len(paths):
        raise ImageError(f"{next(path for path in paths if paths.count(path) > 1)} is given twice; give each file once")
    split = [path_of(path).split("/") for path in paths]
    names = [parts[-1] for parts in split]
    if len(set(names)) == len(names):
        return names
    shared = next(n for n in range(min(map(len, split))) if len({parts[n] for parts in split}) > 1)
    return ["/".join(parts[shared:]) for parts in split]


def path_of(path: str) -> str:
    """What to look at for a file's name: no "?" and after of a web address, no archive or cache around the file."""
    if not is_url(path):
        return path
    head, chain, tail = path.partition("::")
    if chain and "://" not in head:
        return path_of(tail)
    address = urlsplit(head)
    return address.netloc + unquote(address.path) if head.startswith(_WEB) else head


def files_below(url: str, suffixes: Iterable[str]) -> list[str]:
    """The paths below a URL of the files that end in one of ``suffixes``, as the file system writes them, sorted.

    Raises:
        ImageError: if there are none.
    """
    system, inside = file_system(url)
    prefix = f"{inside.rstrip('/')}/" if inside.strip("/") else ""
    ends = tuple(suffixes)
    web = url.startswith(_WEB)
    found = [file for file in system.find(inside) if (urlsplit(file).path if web else file).lower().endswith(ends)]
    outside = [file for file in found if not file.startswith(prefix)]
    if outside:
        raise ImageError(f"{url} lists {outside[0]}, which is not below it; give the URL that it is below")
    if not found:
        raise ImageError(f"{url} holds no images; looked for {', '.join(sorted(ends))} at any depth")
    return sorted(file[len(prefix) :].lstrip("/") for file in found)


class ListedImages:
    """Image files named one by one, below a folder or an fsspec URL; a key is the name as given.

    The names in a web server's listing are percent-encoded; their keys are not, so that they fit a local copy's.

    Args:
        root: what the names are relative to.
        keys: the names, for example ``cat/01.jpg``.
        max_pixels: images of more are rejected; see :func:`~tobias_aug.images.decode.open_image`.
        encoded: whether the names of a web server are percent-encoded.

    Raises:
        ImageError: if there are no names.
    """

    origin: ImageOrigin | None = None

    def __init__(
        self,
        root: str | os.PathLike[str],
        keys: Iterable[str | os.PathLike[str]],
        max_pixels: int | None = None,
        encoded: bool = False,
    ) -> None:
        text = os.fsdecode(root)
        self.root, self.max_pixels = absolute(text)[0] if is_url(text) else str(local_path(text)), max_pixels
        names = list(map(as_key, keys))
        if not names:
            raise ImageError(f"no images below {self.root} are listed; give one path per line")
        web = self.root.startswith(_WEB)
        self._names = KeyList([quote(name, safe="/%:@!$&'()*+,;=~") for name in names]) if web else None
        self.keys = KeyList(map(unquote, names) if web and encoded else names)

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def load(self, index: int, at_least: int | None = None) -> Image.Image:
        key = self.keys[index]
        if is_url(key):
            data = read_bytes(key)
        else:
            name = key if self._names is None else self._names[index]
            system, inside = file_system(self.root)
            data = _read(system, f"{inside.rstrip('/')}/{name}" if inside.strip("/") else name, f"{self.root}/{key}")
        return read_rgb(NamedBytes(data, key), at_least, self.max_pixels)
