"""The library's docstrings as the site's Markdown: sections and roles that Markdown does not know, in its words."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`~?([^`]+)`")


class Docstrings(griffe.Extension):
    """Griffe's extension, called for every object that has a docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(docstring: str) -> str:
    """Turn the singular "Example:" into the section that shows code as code, roles into code, ``::`` into a colon.

    Example:
        >>> from tools.docstrings import markdown
        >>> markdown("See :class:`Mask`::")
        'See `Mask`:'
    """
    plain = re.sub(r"^Example:$", "Examples:", docstring, flags=re.MULTILINE)
    return re.sub(r"::$", ":", _ROLE.sub(r"`\1`", plain), flags=re.MULTILINE)
