"""Images in tar files, as WebDataset lays them out."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from tobias_aug.errors import ImageError
from tobias_aug.images.decode import read_rgb
from tobias_aug.images.keys import KeyList
from tobias_aug.images.named_bytes import NamedBytes
from tobias_aug.images.origin import ImageOrigin
from tobias_aug.images.paths import absolute, file_names, file_system, is_url, ranges_needed, read_bytes
from tobias_aug.images.sources import EXTENSIONS

_BLOCK = 512


class TarImages:
    """The image files inside plain tar files, in the order of the shards and of the files inside.

    Opening reads every header once and keeps names and offsets; an image is then one read at its offset, in any order
    and from any process. On a local disk the reader jumps from header to header. Over a network it reads ahead, so
    that opening may move about as many bytes as the shards have.

    The key of an image is its name in the shard, ``n01440764/10026.JPEG``. WebDataset splits it at the first dot of
    the file's name into ``sample["__key__"]`` and an extension, which it writes in lower case. Of a WebDataset sample
    with an image ``0001.jpg``, further images such as ``0001.seg.png`` are left out. A link inside the shard is the
    file that it leads to. Tar files that were joined end to end are read to the last.

    Args:
        shards: paths or fsspec URLs.
        keys_by_file: put the shard's file name in front of each key, ``shard-000.tar/0001.jpg``, where names repeat
            from shard to shard. Shards of equal names are told apart by their folders, ``a/shard-000.tar/0001.jpg``.
        max_pixels: images of more are rejected; see :func:`~tobias_aug.images.decode.open_image`.

    Raises:
        ImageError: if a shard is damaged, cut short or compressed, its server ignores ranges, or there is no image in
            any.
    """

    origin: ImageOrigin | None = None

    def __init__(
        self, shards: Sequence[str | os.PathLike[str]], keys_by_file: bool = False, max_pixels: int | None = None
    ) -> None:
        self.shards = [path for shard in shards for path in absolute(shard)]
        self.max_pixels = max_pixels
        keys: list[str] = []
        members: list[tuple[int, int, int]] = []
        for number, (shard, file_name) in enumerate(zip(self.shards, file_names(self.shards), strict=True)):
            prefix = f"{file_name}/" if keys_by_file else ""
            found = _images_in(shard)
            if found and is_url(shard):
                read_bytes(shard, found[0][1], found[0][1] + 1)  # Tells now whether the server ignores ranges.
            for name, offset, size in found:
                keys.append(prefix + name)
                members.append((number, offset, size))
        if not keys:
            raise ImageError(f"{', '.join(self.shards[:3])}: no images; looked for {', '.join(sorted(EXTENSIONS))}")
        self.keys = KeyList(keys)
        self._members = np.array(members, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def load(self, index: int, at_least: int | None = None) -> Image.Image:
        shard, offset, size = self._members[index].tolist()
        if offset < 0:
            raise ImageError(f"{self.keys[index]} cannot be read from {self.shards[shard]}: {_UNREADABLE[offset]}")
        data = read_bytes(self.shards[shard], offset, offset + size)
        return read_rgb(NamedBytes(data, self.keys[index]), at_least, self.max_pixels)


_LOST, _SPARSE = -1, -2
_UNREADABLE = {_LOST: "it is a link to a file that the shard does not hold", _SPARSE: "it is stored as a sparse file"}


def _images_in(shard: str) -> list[tuple[str, int, int]]:
    """Name, offset and size of the image files in a tar file; a negative offset says why one cannot be read."""
    system, path = file_system(shard)
    members: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    images: list[str] = []
    try:
        with ranges_needed(shard), system.open(path, "rb") as file:
            start: int | None = 0
            while start is not None:
                file.seek(start)
                start = _scan(file, members, links, images)
    except tarfile.TarError as error:
        raise ImageError(
            f"{shard} is no plain tar file or is damaged ({error}); "
            "fetch it again, or decompress it: images are read at their offsets"
        ) from error
    plain = {_sample(name) for name in images if _is_plain(name)}
    return [
        (name, *_followed(name, members, links)) for name in images if _is_plain(name) or _sample(name) not in plain
    ]


def _scan(file: Any, members: dict[str, tuple[int, int]], links: dict[str, str], images: list[str]) -> int | None:
    """Note what the tar file at the file's position holds; return where the next one begins, if there is one."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            if member.isreg():
                members[member.name] = (_SPARSE, 0) if member.issparse() else (member.offset_data, member.size)
            elif member.islnk() or member.issym():
                folder = posixpath.dirname(member.name) if member.issym() else ""
                links[member.name] = posixpath.normpath(posixpath.join(folder, member.linkname))
            else:
                continue
            if PurePosixPath(member.name).suffix.lower() in EXTENSIONS:
                images.append(member.name)
            archive.members = []  # type: ignore[attr-defined]  # It would keep an object for every file.
        # tarfile takes a damaged header, and the end of a file that is cut between two members, for the end as well.
        file.seek(archive.offset)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError("no end-of-archive mark; the file is cut short or its writer was not closed")
        return _next_start(file, archive.offset + _BLOCK)


def _next_start(file: Any, position: int) -> int | None:
    """The block that holds the first byte other than zero from ``position`` on."""
    while chunk := file.read(1 << 20):
        if rest := chunk.lstrip(b"\0"):
            return position + (len(chunk) - len(rest)) // _BLOCK * _BLOCK
        position += len(chunk)
    return None


def _followed(name: str, members: dict[str, tuple[int, int]], links: dict[str, str]) -> tuple[int, int]:
    """Where the bytes of a member lie, through its links."""
    for _ in range(len(links) + 1):
        if name not in links:
            return members.get(name) or members.get(f"./{name}", (_LOST, 0))
        name = links[name]
    return _LOST, 0


def _sample(name: str) -> str:
    """WebDataset's name of a sample: up to the first dot of the file's name."""
    folder, file = posixpath.split(name)
    return posixpath.join(folder, file.split(".")[0])


def _is_plain(name: str) -> bool:
    return posixpath.basename(name).count(".") == 1
