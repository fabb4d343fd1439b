"""The words of this project: ``python -m tools.language`` names every line that has another.

One word for one thing, as the field calls it. ``make check`` runs this over code, documents and tests; what was run and
stored (``benchmarks/results``) and the list of old names stay as they are.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A pattern, and what to write instead.
WORDS = {
    r"pictures?": "image; PIL image for the type",
    r"data sets?": "dataset",
    r"heat maps?": "heatmap",
    r"maps? of features": "feature map",
    r"half open": "half-open",
    r"go(es)? on|going on|went on": "continue, resume",
    r"where not given": "Default: ...",
    r"squash(ed|es|ing)?": "resize without keeping the aspect ratio",
    r"refus(e|es|ed|ing|als?)": "reject, raise",
    r"nests?": "nested structure",
    r"wings?|ground floor": "method package, shared package",
    r"released code|published code": "official code",
    r"(?<!standard )deviations?": "std",
    r"coloured|colours?": "color",
    r"cent(re|res|red|ring)": "center",
    r"gr[e]y": "gray",
    r"(un|re)?labelled|labelling": "labeled",
    r"(re|de)?(normal|local|initial|optim|standard|minim|maxim|serial)is(e|ed|es|ing|ation)": "-ize",
    r"behaviours?|neighbours?|neighbouring|honour(ed)?|licence|spelt": "US spelling",
}
TEXTS = (".py", ".md", ".toml", ".yml", ".yaml", ".cff")
# This list, the old names, texts of others, commands that were run, and records of the past.
LEFT = (
    "tests/runtime/test_moved.py",
    "tests/test_language.py",
    "tobias_aug/runtime/moved.py",
    *("tools/language.py", "tobias_aug/runtime/renamed.py", "tests/cams/test_options.py", "CHANGELOG.md"),
    *("benchmarks/results/", "tests/masks/table/"),
)
COMMAND = re.compile(
    r"renamed_arguments|^python -m benchmarks\.|connection refused|ConnectionRefused|\"--pictures\"", re.IGNORECASE
)
PATTERN = re.compile("|".join(rf"(?P<w{n}>\b(?:{word})\b)" for n, word in enumerate(WORDS)), re.IGNORECASE)


def findings(text: str) -> list[tuple[int, str, str]]:
    """Return line number, word and what to write instead.

    Example:
        >>> from tools.language import findings
        >>> findings("An image.\\nA heat map of a picture.")
        [(2, 'heat map', 'heatmap'), (2, 'picture', 'image; PIL image for the type')]
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if COMMAND.search(line):
            continue
        for match in PATTERN.finditer(line.replace("_", " ")):
            group = next(name for name, value in match.groupdict().items() if value)
            found.append((number, match[0], list(WORDS.values())[int(group[1:])]))
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    count = 0
    for name in listed:
        if not name.endswith(TEXTS) or name.startswith(LEFT) or not (ROOT / name).is_file():
            continue
        for number, word, better in findings((ROOT / name).read_text(encoding="utf-8")):
            print(f"{name}:{number}: {word!r}: write {better}")
            count += 1
    if count:
        sys.exit(f"{count} words; see tools/language.py")


if __name__ == "__main__":
    main()
