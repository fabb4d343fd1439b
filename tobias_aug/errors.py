"""The errors this library raises on purpose; each says what came, what was expected and what to do."""

from __future__ import annotations


def needs_extra(what: str, extra: str) -> ImportError:
    """Return the error for a missing optional package, with the command that installs it.

    Args:
        what: the sentence's beginning, "a plot needs matplotlib".
        extra: the extra of this package that brings it.

    Example:
        >>> print(needs_extra("a plot needs matplotlib", "plot"))
        a plot needs matplotlib; install the extra "plot", in a clone of tobias-aug: pip install '.[plot]'
    """
    return ImportError(f"{what}; install the extra \"{extra}\", in a clone of tobias-aug: pip install '.[{extra}]'")


class TobiasError(Exception):
    """Base of the library's own errors, so that one ``except`` can catch them all."""


class ImageError(TobiasError, ValueError):
    """An image, or a folder of them, that cannot be used."""


class SampleError(TobiasError, TypeError):
    """A sample of a dataset that is no image at all, such as a float tensor: the dataset is wrong, not one image."""


class TableError(TobiasError, ValueError):
    """A mask table that is unfinished, of another format, or made by another localizer."""


class FolderInUseError(TobiasError):
    """A folder that another process is writing to."""


class UnfinishedError(TableError):
    """A mask table of which other ranks have not yet made their parts."""


class FailureWarning(UserWarning):
    """Images that have no mask in a table, since they could not be read."""


class WriteError(TobiasError, OSError):
    """A file that cannot be written: the disk is full, or the place is not for writing."""


class WorkerError(TobiasError):
    """A process that read data for this one died."""


class MissingMaskError(TobiasError, KeyError):
    """A key that the mask table does not hold."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would put the message in quotes.
        return str(self.args[0])
