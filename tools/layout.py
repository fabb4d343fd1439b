"""Lay the packages out as they are imported, for tools that read code without importing it.

``integrations/`` is installed as ``tobias_aug.integrations`` by setuptools' ``package-dir``, which mypy and the API
reference do not read. Run as ``python -m tools.layout FOLDER``.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lay_out(folder: Path) -> Path:
    """Make ``folder/tobias_aug`` anew, a copy (links would be followed back), and give its path."""
    package = folder / "tobias_aug"
    shutil.rmtree(package, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tobias_aug", package, ignore=ignored)
    shutil.copytree(ROOT / "integrations", package / "integrations", ignore=ignored)
    return package


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
