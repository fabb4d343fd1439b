"""SIGKILLs at seeded points of every long command: nothing lost, nothing half-written, the same result."""

import shutil
import signal
import time

import numpy as np
import pytest

from tests.faults.commands import COMMANDS, RESULTS, orand_train
from tools.command_line import commands

pytestmark = pytest.mark.slow


def test_every_command_that_promises_to_continue_is_killed():
    promise = "run it again to resume after an interruption"
    promised = {name for name, command in commands() if promise in " ".join(command.help.split())}
    assert len(promised) > 8
    assert promised <= {f"tobias-aug {command.name.split(',')[0]}" for command in COMMANDS}
    assert sum(command.kills for command in COMMANDS) >= 100


def only_grew(before, now, whole):
    """All that was complete still is, and what is complete now is the uninterrupted run's or on the way there."""
    if "step" in whole or "losses" in now:
        assert now.get("step", 0) >= before.get("step", 0)
        assert now.get("step", 0) <= whole["step"]
        losses = now.get("losses", [])
        assert losses == whole["losses"][: len(losses)]
        assert now.get("step", 0) < whole["step"] or now["tensors"] == whole["tensors"]
        for result in RESULTS:
            assert now.get(result, whole.get(result)) == whole.get(result)
    else:
        assert before.keys() <= now.keys() <= whole.keys()
        assert [name for name in now if now[name] != whole[name]] == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_killed_commands_end_as_those_that_were_not(server, command, tmp_path):
    """Half of the kills come right before one of the command's file operations, the others at a random time.

    Of the latter, half leave the loader workers alive, as a machine does that runs out of memory.
    """
    if command.name == "pretraining":
        pytest.importorskip("lightly", reason="needs the extra lightly")
    random = np.random.default_rng(sum(command.name.encode()))
    given = tmp_path / "given"
    command.prepare(given)
    if command.name == "orand apply":
        assert server.run(*orand_train(given, given / "run", steps=1))[0] in (0, 1)
    begun = time.monotonic()
    uninterrupted = server.start(*command.task(given, tmp_path / "whole"), folder=tmp_path / "whole")
    assert uninterrupted.wait() == command.status, uninterrupted.said()
    seconds = time.monotonic() - begun
    assert command.said in uninterrupted.said()
    whole = command.complete(tmp_path / "whole")
    visible = {path.name for path in (tmp_path / "whole").iterdir()}

    out, before, kills, attempts = tmp_path / "out", {}, 0, 0

    def finished(status, said):
        assert status == command.status, said
        assert command.complete(out) == whole
        assert {path.name for path in out.iterdir()} == visible
        shutil.rmtree(out)

    while kills < command.kills:
        attempts += 1
        assert attempts < 4 * command.kills + 10
        die_at = int(random.integers(1, uninterrupted.operations() + 1)) if attempts % 2 else None
        running = server.start(*command.task(given, out), folder=out, die_at=die_at)
        if die_at is None:
            time.sleep(float(random.uniform(0, seconds)))
            running.kill(alone=attempts % 4 == 0)
        if (status := running.wait()) != -signal.SIGKILL:
            finished(status, running.said())
            before = {}
        else:
            kills += 1
            if out.exists():
                now = command.complete(out)
                only_grew(before, now, whole)
                before = now
    finished(*server.run(*command.task(given, out)))
