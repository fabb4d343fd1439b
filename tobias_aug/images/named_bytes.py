"""The bytes of a file that has no path of its own."""

from __future__ import annotations

from io import BytesIO


class NamedBytes(BytesIO):
    """The bytes of a file, with its name for messages."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name
