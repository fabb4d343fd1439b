"""What the commands of all benchmarks share: options, and errors that end in one line and status 2."""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from tobias_aug.errors import TobiasError

# What brings a module that a benchmark may lack.
_EXTRAS = {
    "detectron2": "which is installed by its own guide",
    "lightning": "pip install 'tobias-aug[train]'",
    "lightly": "pip install 'tobias-aug[lightly]'",
    "matplotlib": "pip install 'tobias-aug[plot]'",
    "mmcv": "pip install 'tobias-aug[mmseg]'",
    "mmengine": "pip install 'tobias-aug[mmseg]'",
    "mmseg": "pip install 'tobias-aug[mmseg]'",
    "sklearn": "pip install 'tobias-aug[adaptation]'",
    "soundfile": "pip install 'tobias-aug[audio]'",
}


class CommandError(Exception):
    """What ends a benchmark with one line and exit status 2."""


class DataError(CommandError, ValueError):
    """A data folder that is missing, or of another layout or content than a benchmark reads."""


class RecordError(CommandError, ValueError):
    """A stored record that cannot be continued or replaced by this command."""


def benchmark_name() -> str:
    """Return the module that was started, such as ``benchmarks.scale``."""
    main = sys.modules["__main__"].__spec__
    if main is not None and main.name.startswith("benchmarks."):
        return main.name.removesuffix(".__main__").removesuffix(".run")
    return f"benchmarks.{Path(sys.argv[0]).stem}"


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that calls the command as it is started, and shows a module's docstring as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m {benchmark_name()}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Decorate a benchmark's ``main``: known errors end it with one line on stderr and exit status 2."""

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except (CommandError, TobiasError) as error:
            _end(str(error))
        except ModuleNotFoundError as error:
            needed = needs(error)
            if needed is None:
                raise
            _end(needed)

    return run


def needs(error: ModuleNotFoundError) -> str | None:
    """Return what brings a module that is missing, or ``None`` where it is no optional one."""
    missing = (error.name or "").split(".")[0]
    return f"needs {missing}, {_EXTRAS[missing]}" if missing in _EXTRAS else None


def _end(message: str) -> None:
    print(f"{benchmark_name()}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def require(data: Path, *wanted: str, layout: str) -> None:
    """Check that a data folder holds what a benchmark reads, before anything is loaded.

    Args:
        data: the folder that ``--data`` names.
        wanted: patterns below it, each of which must match something.
        layout: what is read and where it comes from, for the message.

    Raises:
        DataError: naming the patterns that match nothing.
    """
    if not data.is_dir():
        raise DataError(f"there is no folder {data}; {layout}")
    missing = [pattern for pattern in wanted if not any(data.glob(pattern))]
    if missing:
        raise DataError(f"{data} holds no {' and no '.join(missing)}; {layout}")


def positive(text: str) -> int:
    """Return an option's whole number, which must be at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wants a whole number from 1 on, got {text}")
    return int(text)


def data_root() -> Path:
    """Return the folder that holds the datasets where ``--data`` names none.

    It is the environment variable TOBIAS_AUG_DATA, else ``../shared/data`` where that exists, else a cache folder.
    """
    given = os.environ.get("TOBIAS_AUG_DATA")
    if given:
        return Path(given)
    shared = Path("../shared/data")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return shared if shared.is_dir() else cache / "tobias-aug" / "data"


def data_argument(parser: argparse.ArgumentParser, holds: str) -> None:
    """Add the option that names the folder of the datasets."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="ROOT",
        default=data_root(),
        help=f"folder that holds {holds}, in a layout that python -m benchmarks.data lists. Default: $TOBIAS_AUG_DATA, "
        "else ../shared/data if there, else a cache folder; here %(default)s",
    )


def training_arguments(parser: argparse.ArgumentParser, holds: str, methods: Collection[str], default: str) -> None:
    """Add the options that every benchmark of trainings has: data, methods, seeds and where to store."""
    data_argument(parser, holds)
    parser.add_argument("--method", default=default, help=f"of {', '.join(methods)}")
    parser.add_argument("--seeds", type=positive, default=1, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="store every finished run here, and checkpoints beside it")


def chosen(parser: argparse.ArgumentParser, given: str, known: Collection[str]) -> list[str]:
    """Return the names of a comma-separated option, each once; the parser ends the command where one is unknown."""
    names = list(dict.fromkeys(given.split(",")))
    if unknown := set(names) - set(known):
        parser.error(f"no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return names


def seeds_of(args: argparse.Namespace) -> range:
    """Return the seeds that ``--first-seed`` and ``--seeds`` name."""
    return range(args.first_seed, args.first_seed + args.seeds)


def file_named(path: Path | None) -> str | None:
    """Return a file's name and the start of its SHA-256, which tell it in a record.

    Raises:
        DataError: if there is no such file.
    """
    if path is None:
        return None
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    with open(path, "rb") as file:
        return f"{path.name}, sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
