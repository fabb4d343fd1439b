"""The classes of a batch of images, in each form in which callers pass them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor


def class_lists(classes: Any, count: int, known: Callable[[], int]) -> list[list[int]]:
    """Return the class ids of each image, ascending.

    Args:
        classes: one id per image, as a tensor, an array or a sequence; any number of ids per image, as a sequence of
            sequences; or multi-hot (images, classes) of 0 and 1, as a tensor or an array.
        count: number of images.
        known: returns the number of classes of the network, which is the length of multi-hot rows.

    Raises:
        TypeError: if an id is no whole number.
        ValueError: if there are classes for another number of images, an image has a class twice, or a multi-hot array
            has other values than 0 and 1, or another number of classes.
    """
    if isinstance(classes, (Tensor, np.ndarray)):
        array = classes.detach().cpu().numpy() if isinstance(classes, Tensor) else classes
        _require_count(len(array) if array.ndim else 0, count)
        if array.ndim == 2:
            return _of_multi_hot(array, known)
        if array.ndim != 1:
            raise ValueError(f"expected class ids (images,) or multi-hot (images, classes), got shape {array.shape}")
        return [[_whole(each)] for each in array]
    _require_count(len(classes), count)
    return [_ids(own) for own in classes]


def _require_count(given: int, count: int) -> None:
    if given != count:
        raise ValueError(f"expected the classes of {count} images, got those of {given}")


def _of_multi_hot(array: np.ndarray, known: Callable[[], int]) -> list[list[int]]:
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(
            "an array (images, classes) of classes is multi-hot, of 0 and 1; give the ids of each image as a list"
        )
    if array.shape[1] != known():
        raise ValueError(f"multi-hot rows have {array.shape[1]} classes, the network knows {known()}")
    return [np.flatnonzero(row).tolist() for row in array]


def _ids(own: Any) -> list[int]:
    if isinstance(own, Integral) or (isinstance(own, (Tensor, np.ndarray)) and own.ndim == 0):
        return [_whole(own)]
    ids = [_whole(each) for each in own]
    if len(set(ids)) < len(ids):
        raise ValueError(
            f"an image's classes are given twice: {_some(ids)}; give each id once, and multi-hot labels as one tensor "
            "(images, classes)"
        )
    return sorted(ids)


def _whole(value: Any) -> int:
    if isinstance(value, Tensor):
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(
            f"class ids are whole numbers, got {value!r}; give multi-hot labels as one tensor (images, classes)"
        )
    return int(value)


def _some(ids: Sequence[int]) -> str:
    return str(list(ids[:8])) if len(ids) <= 8 else f"{str(list(ids[:8]))[:-1]}, ...]"
