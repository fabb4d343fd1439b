"""Lists of image files: text files with one path per line, as people have them."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

from tobias_aug.images.sources import EXTENSIONS, below

_ENDS = tuple(EXTENSIONS)
_END_OF_PATH = re.compile(rf"\.(?:{'|'.join(end[1:] for end in EXTENSIONS)})(?=[\s,;])", re.IGNORECASE)


def listed_paths(data: bytes, root: Path | None) -> list[str]:
    """The paths in the bytes of a list, in its order, each once.

    Empty lines, a byte-order mark and "./" in front of a path are left out, and so is what follows a path after a
    blank, a comma or a semicolon, such as a label. A path may have blanks itself: of several ways to read a line, the
    first that names a file below ``root`` counts, and without one the longest path.

    Args:
        data: UTF-8, or UTF-16 with a byte-order mark; names that are not UTF-8 keep their bytes.
        root: what the paths are relative to, ``None`` where this cannot be looked at.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16").encode()
    lines = [os.fsdecode(line.rstrip(b"\r")) for line in data.removeprefix(codecs.BOM_UTF8).split(b"\n")]
    return list(dict.fromkeys(_path_in(line, root) for line in lines if line.strip()))


def _path_in(line: str, root: Path | None) -> str:
    readings = [line[: match.end()] for match in _END_OF_PATH.finditer(line)][::-1]
    if line.lower().endswith(_ENDS) or not readings:
        readings.insert(0, line)
    readings = [reading.removeprefix("./") for reading in readings]
    if len(readings) == 1 or root is None:
        return readings[0]
    return next((reading for reading in readings if below(root, reading).is_file()), readings[0])
