"""Lay the packages out as they are imported, by links, for tools that read code without importing it.

``integrations/`` is installed as ``tobias_aug.integrations`` by setuptools' ``package-dir``, which mypy and the API
reference do not read. Run as ``python -m tools.layout FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lay_out(folder: Path) -> Path:
    """Make ``folder/tobias_aug`` of links into the repository, anew, and give its path."""
    package = folder / "tobias_aug"
    package.mkdir(parents=True, exist_ok=True)
    for link in package.iterdir():
        link.unlink()
    for entry in (ROOT / "tobias_aug").iterdir():
        if entry.name != "__pycache__":
            (package / entry.name).symlink_to(entry)
    (package / "integrations").symlink_to(ROOT / "integrations")
    return package


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
