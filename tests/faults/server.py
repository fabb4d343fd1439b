"""Run long commands in processes of their own, without importing torch for each: ``python -m tests.faults.server``.

Imports everything once, and forks a child for each line of JSON that it reads; see :mod:`tests.faults.processes`.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import resource
import runpy
import signal
import sys
import traceback
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "pretrain_lightly.py"
# What a process does to files, as Python's audit events call it.
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir")


def tobias(*arguments):
    """The command line itself."""
    from tobias_aug.cli import main

    sys.argv = ["tobias-aug", *arguments]
    main()


def build(images, out, workers):
    """A build of many small parts, which the command line does not offer."""
    from tobias_aug import build_masks

    build_masks(images, CNN, out, grid=2, batch_size=4, part_size=8, workers=int(workers), quiet=True)


def pretrain(*arguments):
    """The pretraining example, as ``python examples/pretrain_lightly.py`` runs it."""
    sys.argv = [str(EXAMPLE), *arguments]
    runpy.run_path(str(EXAMPLE), run_name="__main__")


JOBS = {"tobias": tobias, "build": build, "pretrain": pretrain}


def child(task):
    """Become the process that a task asks for; never returns."""
    os.setsid()
    log = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    status, operations = 1, watch(task.get("folder"), task.get("die_at"))
    try:
        if "largest_file" in task:
            resource.setrlimit(resource.RLIMIT_FSIZE, (task["largest_file"],) * 2)
        if "user" in task:
            os.setgroups([])
            os.setgid(task["user"])
            os.setuid(task["user"])
        JOBS[task["job"]](*task["arguments"])
        status = 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        print(f"file operations: {next(operations) - 1}", flush=True)
        sys.stderr.flush()
        os._exit(status)


def watch(folder, die_at):
    """Count what this process does to files below a folder; it kills itself right before operation ``die_at``."""
    operations, me = itertools.count(1), os.getpid()

    def hook(event, arguments):
        if event not in OPERATIONS or not isinstance(arguments[0], (str, os.PathLike)) or os.getpid() != me:
            return
        if os.fspath(arguments[0]).startswith(folder) and next(operations) == die_at:
            os.kill(me, signal.SIGKILL)

    if folder is not None:
        sys.addaudithook(hook)
    return operations


def main():
    global CNN
    import torch

    from tobias_aug import RandomCNN, build_masks, cli  # noqa: F401
    from tobias_aug.cams import classifiers  # noqa: F401
    from tobias_aug.cams import folder as cam_folder  # noqa: F401
    from tobias_aug.irn import apply as irn_apply  # noqa: F401
    from tobias_aug.irn import train as irn_train  # noqa: F401
    from tobias_aug.localization import border_contrast  # noqa: F401
    from tobias_aug.masks.table import combine  # noqa: F401
    from tobias_aug.orand import apply, folder, train  # noqa: F401
    from tobias_aug.redo import segment  # noqa: F401
    from tobias_aug.redo import train as train_redo  # noqa: F401
    from tobias_aug.refine import folder as refine_folder  # noqa: F401

    if importlib.util.find_spec("lightly"):
        import lightly.data
        import lightly.transforms  # noqa: F401

        import tobias_aug.integrations.lightly  # noqa: F401
    # More threads would not live on in a forked child.
    torch.set_num_threads(1)
    CNN = RandomCNN("resnet18", input_size=64)
    print("ready", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        if "wait" in task:
            print(os.waitstatus_to_exitcode(os.waitpid(task["wait"], 0)[1]), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            child(task)


if __name__ == "__main__":
    main()
