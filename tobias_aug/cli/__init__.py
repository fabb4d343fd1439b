"""The command line: one module a wing, thin: parse, call, print.

Exit status: 0 done, 1 done with failures listed, 2 refused, 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from tobias_aug.cli import demo, export, masks, orand, orand_cams, orand_net, orand_refine, tables
from tobias_aug.errors import TobiasError

app = typer.Typer(
    help="Object masks that cost nothing, and the augmentations they buy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
masks.app.command("concat")(tables.concat)
masks.app.command("filter")(tables.filter_)
app.add_typer(masks.app, name="masks")
for command in (orand_cams.cams, orand_net.train, orand_net.apply, orand_refine.refine):
    orand.app.command()(command)
orand.app.command("irn-train")(orand_refine.irn_train)
orand.app.command("irn-apply")(orand_refine.irn_apply)
app.add_typer(orand.app, name="orand")
app.add_typer(export.app, name="export")
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line; an error the library raises on purpose becomes one line and exit status 2."""
    try:
        app()
    except (TobiasError, ValueError, OSError, ImportError) as error:
        print(f"tobias-aug: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("tobias-aug: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        sys.exit(130)
