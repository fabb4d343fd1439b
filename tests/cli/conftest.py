"""The command line, run as a user would."""

import sys

import pytest

from tobias_aug.cli import main


@pytest.fixture
def tobias(monkeypatch, capsys):
    """Run the command line in this process: status, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tobias-aug", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err

    return run
