"""Long commands as processes that can be killed, starved and rejected."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Running:
    """A command in a process of its own, the leader of its group."""

    server: Server
    pid: int
    log: Path

    def wait(self) -> int:
        """Exit status, or the negative number of the signal that ended it."""
        return int(self.server.ask({"wait": self.pid}))

    def kill(self, *, alone: bool = False) -> None:
        """SIGKILL, to the process alone or to its workers too."""
        with contextlib.suppress(ProcessLookupError):
            (os.kill if alone else os.killpg)(self.pid, signal.SIGKILL)

    def workers(self) -> list[int]:
        """Its child processes."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in listed.read_text().split()] if listed.exists() else []

    def said(self) -> str:
        """All that it printed; its last line is the number of file operations."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def operations(self) -> int:
        return int(self.said().rsplit("file operations: ", 1)[1])


class Server:
    """Starts the processes; see :mod:`tests.faults.server`."""

    def __init__(self, logs: Path) -> None:
        self._logs, self._started = logs, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOBIAS_AUG_ROOT": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        assert self._process.stdout.readline() == "ready\n"

    def ask(self, task: dict) -> str:
        print(json.dumps(task), file=self._process.stdin, flush=True)
        return self._process.stdout.readline()

    def start(self, job: str, *arguments: object, **options: object) -> Running:
        """Start a job of the server.

        Options: ``folder`` whose file operations are counted, ``die_at`` one of them, ``largest_file`` in bytes,
        ``user`` to run as.
        """
        self._started += 1
        log = self._logs / f"{self._started}.log"
        given = {"job": job, "arguments": [str(argument) for argument in arguments], "log": str(log)}
        options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        return Running(self, int(self.ask({**given, **options})), log)

    def run(self, job: str, *arguments: object, **options: object) -> tuple[int, str]:
        """Exit status and output of a job that is left to end."""
        running = self.start(job, *arguments, **options)
        return running.wait(), running.said()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def wait_for(condition, seconds: float = 60) -> None:
    """Wait until something is true of a process that is at work."""
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, "nothing came of it"
        time.sleep(0.002)
