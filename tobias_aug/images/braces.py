"""The braces of patterns: ``{000..010}``, ``{9..0..3}`` and ``{a,b}``, one inside the other too."""

from __future__ import annotations

import re
from collections.abc import Iterator

_RANGE = re.compile(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?")


def without_braces(pattern: str) -> Iterator[str]:
    """Every combination of the alternatives in a pattern's braces, in the order of a shell.

    A range keeps the zeros of its numbers, counts downwards where the first is the larger one, and may have a step.
    Braces that hold neither a range nor a comma stay as they are.

    Example:
        >>> from tobias_aug.images.braces import without_braces
        >>> list(without_braces("s{01..00}-{a,b}.tar"))
        ['s01-a.tar', 's01-b.tar', 's00-a.tar', 's00-b.tar']
    """
    start = pattern.find("{")
    end = _closing(pattern, start)
    if end < 0:
        yield pattern
        return
    head, inner = pattern[:start], pattern[start + 1 : end]
    span, parts = _RANGE.fullmatch(inner), _split(inner)
    if span:
        choices = _count(*span.groups())
    elif len(parts) > 1:
        choices = [choice for part in parts for choice in without_braces(part)]
    else:
        choices = ["{" + choice + "}" for choice in without_braces(inner)]
    for choice in choices:
        for tail in without_braces(pattern[end + 1 :]):
            yield head + choice + tail


def _count(first: str, last: str, step: str | None) -> list[str]:
    padded = any(end.startswith("0") and len(end) > 1 for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    low, high, by = int(first), int(last), max(1, int(step or 1))
    numbers = range(low, high + 1, by) if low <= high else range(low, high - 1, -by)
    return [str(number).zfill(width) for number in numbers]


def _closing(pattern: str, start: int) -> int:
    """Where the brace at ``start`` ends, -1 where it does not."""
    depth = 0
    for position in range(max(start, 0), len(pattern)):
        depth += (pattern[position] == "{") - (pattern[position] == "}")
        if start >= 0 and not depth:
            return position
    return -1


def _split(inner: str) -> list[str]:
    """The alternatives between the commas that stand in no inner braces."""
    parts, depth = [""], 0
    for letter in inner:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
