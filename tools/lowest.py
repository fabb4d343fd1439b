"""Print the lowest versions that ``pyproject.toml`` declares for the core dependencies, as pip's constraints."""

from __future__ import annotations

import re

from tools.layout import ROOT


def lowest(pyproject: str) -> list[str]:
    """``NAME==VERSION`` for every core dependency.

    Example:
        >>> from tools.lowest import lowest
        >>> lowest('dependencies = [\\n    "torch>=2.6",\\n]\\n')
        ['torch==2.6']

    Raises:
        ValueError: if a dependency declares no lowest version.
    """
    block = re.search(r"^dependencies = \[\n(.*?)^\]", pyproject, re.MULTILINE | re.DOTALL)
    declared = re.findall(r'"([^"]+)"', block[1]) if block else []
    pins = [dependency.replace(">=", "==") for dependency in declared]
    if not pins or not all(re.fullmatch(r"[\w-]+==[\d.]+", pin) for pin in pins):
        raise ValueError(f"every core dependency is written NAME>=VERSION in pyproject.toml, got {declared}")
    return pins


if __name__ == "__main__":
    print("\n".join(lowest((ROOT / "pyproject.toml").read_text(encoding="utf-8"))))
