"""All commands in one, and the one place where an error becomes a line and an exit status."""

from __future__ import annotations

import errno
import sys
import traceback
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tobias_aug.cli import INTERRUPTED, cutouts, demo, env, export, gan, masks, orand, redo, tables
from tobias_aug.errors import TobiasError

# What a wrong command line raises; the command line's library shows it with the usage, and leaves with status 2.
_UsageError: Any = typer.BadParameter.__bases__[0]
_EXPECTED = (TobiasError, ValueError, OSError, ImportError)


class Commands(TyperGroup):
    """The root of all commands: errors of any of them pass here."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            Exit: with status 2 after any error, 130 after an interruption, each with one line on standard error;
                ``--traceback`` puts the traceback before an error's.
        """
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, _UsageError):
            raise
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            raise typer.Exit(130) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                # Nobody reads any more, as with "| head"; typer leaves without a word.
                raise
            if ctx.params["traceback"]:
                traceback.print_exc()
            print(f"tobias-aug: {described(error)}", file=sys.stderr)
            raise typer.Exit(2) from None


def described(error: Exception) -> str:
    """One line that says what was wrong, and where a fault of the library's shows itself."""
    text = str(error)
    if isinstance(error, _EXPECTED) and text:
        return text
    first = text.strip().splitlines()[0] if text.strip() else "no message"
    if type(error).__name__ == "OutOfMemoryError":
        return f"out of memory: {first}; take fewer images per batch"
    return f"{type(error).__name__}: {first}; add --traceback to see where, and report it with that"


app = typer.Typer(
    help="Object masks that cost nothing, and the augmentations they buy.",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # Boxes would take twice the lines.
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"tobias-aug {version('tobias-aug')}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from; may stand anywhere.")
    ] = False,
) -> None:
    """Object masks that cost nothing, and the augmentations they buy."""


masks.app.command("concat")(tables.concat)
masks.app.command("filter")(tables.filter_)
app.add_typer(masks.app, name="masks")
app.add_typer(orand.app, name="orand")
app.add_typer(redo.app, name="redo")
app.add_typer(cutouts.app, name="cutouts")
app.add_typer(gan.app, name="gan")
app.add_typer(export.app, name="export")
app.command("demo")(demo.demo)
app.command("env")(env.env)
