"""Pillow's limit on the number of pixels, which is one for the whole process, raised for as long as it must be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from PIL import Image

_lock = Lock()
_wanted: list[int] = []
_own: int | None = None


@contextmanager
def pixel_limit(max_pixels: int | None = None) -> Iterator[int | None]:
    """Let Pillow open images of up to ``max_pixels`` inside the block, and yield the limit that holds there.

    The program's own ``Image.MAX_IMAGE_PIXELS`` is back when the last block ends, also after an error and with blocks
    in several threads at once.

    Args:
        max_pixels: Default: the program's own limit; ``None`` there means no limit.
    """
    global _own
    with _lock:
        if not _wanted:
            _own = Image.MAX_IMAGE_PIXELS
        own = _own
        raised = max_pixels is not None and own is not None and max_pixels > own
        if raised:
            _wanted.append(max_pixels)  # type: ignore[arg-type]  # it is not None
            Image.MAX_IMAGE_PIXELS = max(_wanted)
    try:
        yield own if max_pixels is None else max_pixels
    finally:
        if raised:
            with _lock:
                if max_pixels in _wanted:  # A process forked inside the block has none.
                    _wanted.remove(max_pixels)
                    Image.MAX_IMAGE_PIXELS = max(_wanted) if _wanted else _own


def _restored() -> None:
    """Return a forked process the program's own limit; the blocks of the parent's threads never end in it."""
    if _wanted:
        _wanted.clear()
        Image.MAX_IMAGE_PIXELS = _own
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_restored)
