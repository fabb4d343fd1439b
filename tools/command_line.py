"""The command line's page of the reference, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args, get_type_hints

import typer.main

from tobias_aug.cli import app


def commands(group: Any = None, name: str = "tobias-aug") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, in the order of ``--help``."""
    group = group or typer.main.get_command(app)
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


def reference() -> str:
    """Markdown: a section a command, a row an argument or option."""
    lines = [
        "# Command line",
        "",
        "Exit status: 0 done, 1 done with failures listed, 2 rejected, 130 interrupted. Without a terminal, "
        "progress is printed as plain lines.",
    ]
    for name, command in commands():
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        usage = " ".join([name, *(each.name.upper() for each in arguments), "[OPTIONS]"])
        lines += ["", f"## {name}", "", _cell(command.help), "", "```", usage, "```", "", "| | | default |"]
        lines.append("| --- | --- | --- |")
        hints = get_type_hints(command.callback)
        for each in command.params:
            flags = [each.name.upper()] if each in arguments else [*each.opts, *each.secondary_opts]
            told = _cell(getattr(each, "help", None))
            if choices := _choices(hints[each.name]):
                told += f" One of {', '.join(choices)}."
            value = getattr(each.default, "value", each.default)
            default = "" if each.required or value is None else f"`{value}`"
            lines.append(f"| {', '.join(f'`{flag}`' for flag in flags)} | {told} | {default} |")
    return "\n".join(lines) + "\n"


def _choices(hint: Any) -> list[str]:
    """The values of an enumeration, or of one that may be left out."""
    kinds = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and issubclass(kind, Enum)]
    return [str(choice.value) for kind in kinds for choice in kind]


def _cell(text: str | None) -> str:
    return " ".join((text or "").replace("|", "\\|").split())
