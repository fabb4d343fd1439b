"""Text files that people and their editors write: lists of names, tables of labels."""

from __future__ import annotations

import codecs
from pathlib import Path

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8, or in what its byte-order mark says; the mark is no part of the text.

    Windows' editors put such a mark in front, and its shell writes UTF-16.

    Raises:
        ValueError: if it is in another encoding.
        OSError: if it cannot be read.
    """
    content = Path(path).read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 (byte {error.start}); save it as UTF-8") from error


def read_names(path: str | Path) -> list[str]:
    """Read the lines of a list of images, without those that are empty; :func:`find_name` finds what they name.

    Raises:
        ValueError: if the file is no text, or names nothing.
        OSError: if it cannot be read.
    """
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path} names no image; expected one name per line")
    return names
