"""The public names of the whole package: ``python -m tools.public_names`` writes ``tests/public_names.txt``."""

from __future__ import annotations

import argparse
import pkgutil
from importlib import import_module
from pathlib import Path

import tobias_aug

FILE = Path(__file__).resolve().parents[1] / "tests" / "public_names.txt"


def public_names() -> list[str]:
    """Return every name that ``tobias_aug`` or one of its packages exports, with its package in front."""
    packages = ["tobias_aug"]
    packages += [module.name for module in pkgutil.iter_modules(tobias_aug.__path__, "tobias_aug.") if module.ispkg]
    return [
        f"{package}.{name}"
        for package in packages
        if package != "tobias_aug.integrations"
        for name in sorted(getattr(import_module(package), "__all__", []))
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    FILE.write_text("\n".join(public_names()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
