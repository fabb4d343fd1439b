"""Everything that must hold before a release, step by step: ``make release-check``.

Stops at the first step that fails, and says what to do. Nothing is published and nothing is tagged.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

from tools.layout import ROOT


def version_is_told() -> str | None:
    """What is wrong with the version and the changelog, if anything is.

    The newest version that the changelog names must be pyproject.toml's, and nothing may wait under "Unreleased".
    """
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return unreleased(version[1] if version else "", changelog)


def unreleased(version: str, changelog: str) -> str | None:
    """The same for a version and a changelog's text.

    Example:
        >>> from tools.release_check import unreleased
        >>> unreleased("1.2.0", "## 1.2.0, 2030-01-31")
    """
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    waiting = [section for section in sections if section.startswith("Unreleased") and "- " in section]
    named = [section.split()[0].rstrip(",") for section in sections if not section.startswith("Unreleased")]
    if waiting:
        return f'CHANGELOG.md has lines under "Unreleased": put them under "## {version}, DATE"'
    if named[:1] != [version]:
        return f"CHANGELOG.md's newest version is {named[0] if named else 'none'}, pyproject.toml's {version}"
    return None


def tree_is_clean() -> str | None:
    """Which files are changed or unknown to git, if any."""
    status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    return f"commit or remove these first:\n{status.stdout}" if status.stdout else None


def passes(*command: str, otherwise: str) -> Callable[[], str | None]:
    """A step that is a command."""

    def run() -> str | None:
        return otherwise if subprocess.run(command, cwd=ROOT).returncode else None

    return run


STEPS: dict[str, Callable[[], str | None]] = {
    "the version is the changelog's": version_is_told,
    "the working tree is clean": tree_is_clean,
    "tables are those of the committed results": passes(
        sys.executable, "-m", "benchmarks.tables", "--check", otherwise="run python -m benchmarks.tables and commit"
    ),
    "style, types and layers": passes("make", "check", otherwise="make format mends style; mend the rest by hand"),
    "the site builds strictly": passes("make", "docs", otherwise="mend the links, names or pages it warns of"),
    "wheel and sdist install and work": passes("make", "packages", otherwise="see pyproject.toml and MANIFEST.in"),
    "tests, newest versions, with coverage": passes("make", "coverage", otherwise="mend the tests, or add some"),
    "tests, lowest versions": passes(
        "make",
        "test-lowest",
        otherwise="mend the code, or raise the version in pyproject.toml and say so in the changelog",
    ),
}


def main() -> None:
    for number, (name, step) in enumerate(STEPS.items(), 1):
        print(f"[{number}/{len(STEPS)}] {name}", flush=True)
        if (wrong := step()) is not None:
            sys.exit(f"release-check: not so: {name}; {wrong}")
    print("ready: tag it, and upload what is in dist/")


if __name__ == "__main__":
    main()
