"""Run the gallery's code: every Python block of ``docs/gallery.md`` leaves a ``image``, which is shown under it."""

from __future__ import annotations

import io
import re
from typing import Any

MARK = re.compile(r"<!-- image: (?P<name>[\w-]+): (?P<alt>[^>]+?) -->")
_STEP = re.compile(r"```python\n(?P<code>.*?)```\n\n" + MARK.pattern, re.DOTALL)


def images(page: str) -> dict[str, bytes]:
    """The PNG files of the page, by name; a block uses what the blocks above it made.

    Raises:
        ValueError: if a block has no image's mark below it, or two marks have one name.
    """
    steps = list(_STEP.finditer(page))
    if len(steps) != page.count("```python\n"):
        raise ValueError("every Python block of the gallery needs a line <!-- image: name: what it shows --> below it")
    names: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for step in steps:
        exec(step["code"], names)
        if step["name"] in files:
            raise ValueError(f"two images of the gallery are called {step['name']}")
        file = io.BytesIO()
        names.pop("image").save(file, "PNG", optimize=True)
        files[step["name"]] = file.getvalue()
    return files
