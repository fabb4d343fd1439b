"""Where images are and how they were opened, so that whatever reads them later opens them the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class ImageOrigin:
    """Where images are and how they were opened: the arguments of :func:`~tobias_aug.images.opening.open_images`.

    Every source that is opened by path carries one as ``origin``; see :func:`origin_of`.

    Attributes:
        path: absolute path, fsspec URL or pattern; several of them for a list of tar or Parquet files.
        kind: "folder", "list", "tar" or "parquet"; "auto" goes by the name.
        root: what the lines of a list are relative to. Default: the list's own folder.
        column: of Parquet files, the column of images.
        key_column: of Parquet files, the column of keys.
        keys_by_file: whether keys start with the name of their tar or Parquet file.
        max_pixels: images of more are rejected. Default: Pillow's limit.

    Example:
        >>> origin = ImageOrigin("/data/shard-{000..146}.tar", "tar", keys_by_file=True)
        >>> origin.to_dict()
        {'path': '/data/shard-{000..146}.tar', 'kind': 'tar', 'keys_by_file': True}
        >>> ImageOrigin.from_dict(origin.to_dict()) == origin
        True
    """

    path: str | tuple[str, ...]
    kind: str = "auto"
    root: str | None = None
    column: str = "image"
    key_column: str | None = None
    keys_by_file: bool = False
    max_pixels: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: the path, the kind, and what differs from its default."""
        given = {"path": list(self.path) if isinstance(self.path, tuple) else self.path, "kind": self.kind}
        for field in fields(self)[2:]:
            if getattr(self, field.name) != field.default:
                given[field.name] = getattr(self, field.name)
        return given

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> ImageOrigin:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ValueError: if a name or the type of a value is not one of an origin's.
        """
        for name, value in given.items():
            if name not in _TYPES or not isinstance(value, _TYPES[name]) or (isinstance(value, bool) != (name == _BY)):
                raise ValueError(f"{name}={value!r} does not say where images are; expected {', '.join(_TYPES)}")
        path = given.get("path")
        if isinstance(path, list):
            if not path or not all(isinstance(one, str) for one in path):
                raise ValueError(f"path={path!r} does not say where images are; expected strings")
            path = tuple(path)
        if path is None:
            raise ValueError(f"no path among {', '.join(given) or 'nothing'}; expected {', '.join(_TYPES)}")
        return cls(**{**given, "path": path})

    def changed(self, **given: Any) -> ImageOrigin:
        """Return a copy with what is given; ``None`` leaves a value as it is.

        Another ``path`` without a ``kind`` is opened by its name, with the other options of this one.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        if "path" in chosen and "kind" not in chosen:
            chosen["kind"] = "auto"
        return replace(self, **chosen)


_BY = "keys_by_file"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "path": (str, list),
    "kind": str,
    "root": (str, type(None)),
    "column": str,
    "key_column": (str, type(None)),
    _BY: bool,
    "max_pixels": (int, type(None)),
}


def origin_of(source: Any) -> ImageOrigin | None:
    """Return where a source was opened, or ``None`` for a user's own dataset, which only the user can open again."""
    origin = getattr(source, "origin", None)
    return origin if isinstance(origin, ImageOrigin) else None
