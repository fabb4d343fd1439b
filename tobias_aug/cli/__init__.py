"""The command line: one module per method, thin: parse, call, print.

Exit status: 0 done, 1 done with failures listed, 2 rejected, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Any

# So that a shell which completes a command, and an interruption in the first second, need not wait for any library.
INTERRUPTED = "tobias-aug: interrupted; run the same command again to continue"


def main() -> None:
    """Run the command line; :mod:`tobias_aug.cli.commands` says what becomes of errors."""
    try:
        from tobias_aug.cli.commands import app

        app(args=_with_current_values(_with_traceback_first(sys.argv[1:])))
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)


def _with_traceback_first(arguments: list[str]) -> list[str]:
    """Let ``--traceback`` stand anywhere, since it is added to a command that has just failed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if "--traceback" not in arguments[:end]:
        return arguments
    return ["--traceback", *(each for each in arguments[:end] if each != "--traceback"), *arguments[end:]]


def _with_current_values(arguments: list[str]) -> list[str]:
    """Take the old values of ``--localizer`` for one version, and say the new ones."""
    from tobias_aug.runtime.renamed import LOCALIZERS

    renamed = {**LOCALIZERS, **{f"--localizer={old}": f"--localizer={new}" for old, new in LOCALIZERS.items()}}
    for old, new in renamed.items():
        if old in arguments:
            print(f"tobias-aug: {old} is called {new} now; the old name goes with the next version", file=sys.stderr)
    return [renamed.get(each, each) for each in arguments]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tobias_aug.cli.commands import app

    return app
