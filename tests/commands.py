"""The commands that documents speak of, and whether their programs take them."""

import argparse
import contextlib
import importlib
import io
import re
import runpy
import sys

import typer.main

from benchmarks.runs import module_of
from tobias_aug.cli import app

_PROGRAM = re.compile(r"(tobias-aug|python|make|pip) ")


def commands(page: str) -> dict[str, bool]:
    """The commands of a page, and whether they are whole: those in fences are, those spoken of in the text may not be.

    Example:
        >>> commands("`make test`\\n```bash\\ntobias-aug masks build A -o B    # a table\\n```")
        {'make test': False, 'tobias-aug masks build A -o B': True}
    """
    fences = re.findall(r"^```(\w*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    found = {spoken: False for spoken in re.findall(r"`([^`\n]+)`", text) if _PROGRAM.match(spoken)}
    for kind, block in fences:
        if kind in ("", "bash"):
            for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines():
                # What a command does stands behind it, three spaces away or after a number sign.
                command = re.split(r"\s{3,}|\s+#|\s+\.\.\.", line)[0]
                if _PROGRAM.match(command):
                    found[command] = True
    return found


def typer_rejects(words: list[str]) -> str | None:
    """Why ``tobias-aug`` would reject its words; ``None`` where it would begin."""
    command, given = typer.main.get_command(app), list(words)
    options = {option for each in command.params for option in each.opts}
    while given and given[0] in options:  # Of the program itself, such as --version.
        given.pop(0)
    while given and hasattr(command, "commands"):
        if given[0] not in command.commands:
            return f"no command {' '.join(words[: len(words) - len(given) + 1])}"
        command = command.commands[given.pop(0)]
    if not given or hasattr(command, "commands"):
        return None  # It is spoken of by its name alone.
    context = command.context_class(command)
    try:
        values, left, _ = command.make_parser(context).parse_args(given)
    except Exception as error:
        return str(error) or type(error).__name__
    if left:
        return f"too many arguments: {left}"
    required = [each.name for each in command.params if each.required]
    missing = [name.upper() for name in required if not isinstance(values.get(name), (str, tuple, list))]
    return f"missing: {', '.join(missing)}" if missing else None


def argparse_rejects(words: list[str], whole: bool, monkeypatch, root) -> str | None:
    """Why a program of the repository would reject its words, by its own parser; ``None`` where it would begin."""
    name, given = (words[1], words[2:]) if words[0] == "-m" else (words[0], words[1:])
    parse = argparse.ArgumentParser.parse_args

    class ParsedError(Exception):
        """The program has read its words; it need not do what they say."""

    def parse_args(parser, args=None, namespace=None):
        unknown = {word for word in given if word.startswith("--")} - parser._option_string_actions.keys()
        if unknown:
            parser.error(f"no option {', '.join(sorted(unknown))}")
        if whole:
            parse(parser, args, namespace)
        raise ParsedError

    with monkeypatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as told:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", [name, *given])
        try:
            if words[0] == "-m":
                (module_of(name) if name.split(".")[0] == "benchmarks" else importlib.import_module(name)).main()
            else:
                runpy.run_path(str(root / name), run_name="__main__")
        except ParsedError:
            return None
        except SystemExit:
            return told.getvalue()
    return "it never read its words"
