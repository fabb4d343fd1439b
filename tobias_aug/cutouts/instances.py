"""Instances: the objects of an image as any mask source gives them, each with a mask that is decoded when asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from tobias_aug.class_maps.layouts import find_name

Size = tuple[int, int]


@dataclass(frozen=True)
class Instance:
    """An object of an image.

    Attributes:
        id: tells it from the other objects of its image; part of a file's name.
        label: name of its class.
        mask: decodes the mask for an image of (height, width), and may raise a ValueError, which is listed.
        reason: why it is no cut-out whatever its pixels say, such as a crowd.
    """

    id: str
    label: str
    mask: Callable[[Size], Bool[np.ndarray, "height width"]] = field(repr=False)
    reason: str | None = None


@runtime_checkable
class MaskSource(Protocol):
    """Where the objects of images come from."""

    def names(self) -> list[str]:
        """Return the names of the images that it knows, as paths without extension."""
        ...

    def instances(self, name: str) -> list[Instance]:
        """Return the objects of an image, in a fixed order.

        Raises:
            ValueError, OSError: if it knows no such image, or what it has of it cannot be read.
        """
        ...

    def classes(self) -> list[str] | None:
        """Return the names of the classes that there can be; ``None`` where nothing says it ahead."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return what its instances depend on, as ``settings.json`` holds it."""
        ...


class Names:
    """Names of images that masks know, to be found by the name of an image.

    Example:
        >>> from tobias_aug.cutouts.instances import Names
        >>> names = Names(["cat/01", "02"])
        >>> names.find("images/cat/01"), names.find("01"), names.find("03")
        ('cat/01', 'cat/01', None)
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = dict.fromkeys(known)
        self._tails: dict[str, list[str]] = defaultdict(list)
        for name in self._known:
            self._tails[name.rpartition("/")[2]].append(name)

    def find(self, name: str) -> str | None:
        """Return the same name, the longest that this one ends in, or the only one that ends in this one."""
        found = find_name(name, self._known)
        if found in self._known:
            return found
        longer = [known for known in self._tails.get(name.rpartition("/")[2], ()) if known.endswith(f"/{name}")]
        return longer[0] if len(longer) == 1 else None


def without_extension(key: str) -> str:
    """Return a key without its extension."""
    return str(PurePosixPath(key.replace("\\", "/")).with_suffix(""))


def checked(mask: Bool[np.ndarray, "rows columns"], size: Size) -> Bool[np.ndarray, "height width"]:
    """Return the mask, if it is of the image's size.

    Raises:
        ValueError: if it is not.
    """
    if mask.shape != size:
        raise ValueError(
            f"the mask is {mask.shape[0]} x {mask.shape[1]}, the image {size[0]} x {size[1]}; resize them together"
        )
    return mask
