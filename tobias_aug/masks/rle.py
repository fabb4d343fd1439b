"""Binary masks as runs, as COCO's annotations keep them: column by column, zeros first, as a list or as a short string.

The string writes each run's length, from the fourth run on its difference to the run two before, in groups of five
bits, lowest first; a sixth bit says that more follow, and 48 makes it a printable character. Numbers are signed: the
highest bit of the last group is the sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Shaped

GROUPS = 7  # Five bits each: enough for any image of less than 2 ** 34 pixels.


def encode_rle(mask: Shaped[np.ndarray, "height width"], *, compressed: bool = True) -> dict[str, Any]:
    """Encode a binary mask as COCO's run lengths.

    Args:
        mask: bool, or integers 0 and 1.
        compressed: the string that pycocotools writes; else the list of run lengths, zeros first.

    Returns:
        ``{"size": [height, width], "counts": ...}``, which JSON and pycocotools take.

    Raises:
        ValueError: if the mask is not of two dimensions, or holds other values.

    Example:
        >>> encode_rle(np.array([[0, 1, 1], [0, 1, 0]]), compressed=False)
        {'size': [2, 3], 'counts': [2, 3, 1]}
        >>> encode_rle(np.array([[0, 1, 1], [0, 1, 0]]))
        {'size': [2, 3], 'counts': '231'}
    """
    if mask.ndim != 2 or mask.dtype.kind not in "biu" or (mask.size and not 0 <= mask.min() <= mask.max() <= 1):
        raise ValueError(
            f"a binary mask is (height, width) of bool or of 0 and 1, got {mask.dtype} {mask.shape}; "
            "take one class of an index mask with mask == class_id + 1"
        )
    flat = mask.astype(bool, copy=False).T.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(edges, prepend=0, append=flat.size)
    if flat.size and flat[0]:
        counts = np.concatenate([[0], counts])
    return {"size": list(mask.shape), "counts": _to_text(counts) if compressed else counts.tolist()}


def decode_rle(rle: Mapping[str, Any]) -> Bool[np.ndarray, "height width"]:
    """Decode COCO's run lengths, a string (``str`` or ``bytes``) or a list, to a binary mask.

    Raises:
        ValueError: if the string is damaged, or the runs do not cover ``size``.

    Example:
        >>> decode_rle({"size": [2, 3], "counts": "231"}).astype(int)
        array([[0, 1, 1],
               [0, 1, 0]])
    """
    height, width, counts = _runs(rle)
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def rle_area(rle: Mapping[str, Any]) -> int:
    """Count the pixels of an encoded mask; errors are those of :func:`decode_rle`.

    Example:
        >>> rle_area({"size": [2, 3], "counts": "231"})
        3
    """
    return int(_runs(rle)[2][1::2].sum())


def rle_box(rle: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """The box around an encoded mask as COCO gives boxes: x, y, width, height in pixels; four zeros without a pixel.

    Errors are those of :func:`decode_rle`.

    Example:
        >>> rle_box({"size": [2, 3], "counts": "231"})
        (1, 0, 2, 2)
    """
    height, _, counts = _runs(rle)
    ends = counts.cumsum()
    there = counts[1::2] > 0
    if not there.any():
        return 0, 0, 0, 0
    first, last = (ends[:-1][::2])[there], ends[1::2][there] - 1
    left, right = int(first[0]) // height, int(last[-1]) // height
    # A run that continues in the next column touches the lowest row and the highest.
    crosses = bool((first // height < last // height).any())
    top, bottom = (0, height - 1) if crosses else (int((first % height).min()), int((last % height).max()))
    return left, top, right - left + 1, bottom - top + 1


def _runs(rle: Mapping[str, Any]) -> tuple[int, int, Int64[np.ndarray, " runs"]]:
    if not {"size", "counts"} <= rle.keys():
        raise ValueError(f'expected run lengths with "size" and "counts", got {", ".join(map(str, rle))}')
    height, width = map(int, rle["size"])
    counts = rle["counts"]
    counts = _from_text(counts) if isinstance(counts, (str, bytes)) else np.asarray(counts)
    if counts.size and (counts.ndim != 1 or counts.dtype.kind not in "iu"):
        raise ValueError(f"run lengths are a string or a list of whole numbers, got {counts.dtype} {counts.shape}")
    counts = counts.astype(np.int64, copy=False)
    pixels = height * width
    # The largest is looked at first: a sum of very large ones could come round to the right number.
    if min(height, width) < 0 or (counts.size and not 0 <= counts.min() <= counts.max() <= pixels):
        raise ValueError(f"run lengths of a mask of {height} x {width} lie in 0 .. {pixels}, got {_some(counts)}")
    if counts.sum() != pixels:
        raise ValueError(f"the runs cover {counts.sum()} pixels of a mask of {height} x {width}, which has {pixels}")
    return height, width, counts


def _some(counts: np.ndarray) -> str:
    return np.array2string(counts, threshold=8, edgeitems=3, separator=", ")


def _to_text(counts: Int64[np.ndarray, " runs"]) -> str:
    numbers = counts.copy()
    numbers[3:] -= counts[1:-2]
    digit = np.arange(GROUPS)
    groups = numbers[:, None] >> 5 * digit & 31
    # A signed number has another group as long as the bits so far do not hold it.
    limit = 1 << 5 * digit[1:] - 1
    length = 1 + ((numbers[:, None] < -limit) | (numbers[:, None] >= limit)).sum(1)
    groups |= (digit < length[:, None] - 1) * 32
    text: str = (groups[digit < length[:, None]] + 48).astype(np.uint8).tobytes().decode("ascii")
    return text


def _from_text(text: str | bytes) -> Int64[np.ndarray, " runs"]:
    data = text.encode() if isinstance(text, str) else text
    groups = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(groups & 32 == 0)
    if len(groups) and not (0 <= groups.min() <= groups.max() < 64 and len(ends) and ends[-1] == len(groups) - 1):
        raise ValueError(f"a damaged string of run lengths: {data[:40]!r}, {len(data)} characters")
    starts = np.concatenate([[0], ends + 1])[:-1]
    length = ends - starts + 1
    if (length > GROUPS).any():
        raise ValueError(
            f"a damaged string of run lengths: one of {length.max()} characters, at most {GROUPS} are read"
        )
    digit = np.arange(len(groups)) - np.repeat(starts, length)
    numbers: np.ndarray = np.add.reduceat((groups & 31) << 5 * digit, starts) if len(starts) else groups
    numbers -= (groups[ends] & 16 > 0) * (1 << 5 * length)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers
