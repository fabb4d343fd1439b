"""Images in tar files, as WebDataset lays them out."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from tobias_aug.errors import ImageError
from tobias_aug.images.decode import read_rgb
from tobias_aug.images.keys import KeyList
from tobias_aug.images.origin import ImageOrigin
from tobias_aug.images.places import file_system, read_bytes
from tobias_aug.images.sources import EXTENSIONS


class TarImages:
    """The image files inside plain tar files, in the order of the shards and of the files inside.

    Opening reads every header once and keeps names and offsets; an image is then one read at its offset, in any order
    and from any process. On a local disk the reader jumps from header to header. Over a network it reads ahead, so
    that opening may move about as many bytes as the shards have.

    The key of an image is its name in the shard: for a WebDataset sample ``sample["__key__"] + ".jpg"``, or whatever
    its extension is.

    Args:
        shards: paths or fsspec URLs.
        keys_by_file: put the shard's file name in front of each key, ``shard-000.tar/0001.jpg``, where names repeat
            from shard to shard.
        max_pixels: pictures of more are refused; see :func:`~tobias_aug.images.decode.open_image`.

    Raises:
        ImageError: if a shard is damaged or compressed, or there is no image in any.
    """

    origin: ImageOrigin | None = None

    def __init__(self, shards: Sequence[str], keys_by_file: bool = False, max_pixels: int | None = None) -> None:
        self.shards, self.max_pixels = list(shards), max_pixels
        keys: list[str] = []
        places: list[tuple[int, int, int]] = []
        for number, shard in enumerate(self.shards):
            prefix = f"{PurePosixPath(shard).name}/" if keys_by_file else ""
            for name, offset, size in _images_in(shard):
                keys.append(prefix + name)
                places.append((number, offset, size))
        if not keys:
            raise ImageError(f"{', '.join(self.shards[:3])}: no images; looked for {', '.join(sorted(EXTENSIONS))}")
        self.keys = KeyList(keys)
        self._places = np.array(places, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def load(self, index: int, at_least: int | None = None) -> Image.Image:
        shard, offset, size = self._places[index].tolist()
        data = read_bytes(self.shards[shard], offset, offset + size)
        return read_rgb(BytesIO(data), at_least, self.max_pixels)


def _images_in(shard: str) -> list[tuple[str, int, int]]:
    """Name, offset and size of the image files in a tar file."""
    system, path = file_system(shard)
    found = []
    try:
        with system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                if member.isreg() and PurePosixPath(member.name).suffix.lower() in EXTENSIONS:
                    found.append((member.name, member.offset_data, member.size))
                archive.members = []  # type: ignore[attr-defined]  # It would keep an object for every file.
    except tarfile.TarError as error:
        raise ImageError(
            f"{shard} is no plain tar file or is damaged ({error}); "
            "fetch it again, or decompress it: images are read at their offsets"
        ) from error
    return found
