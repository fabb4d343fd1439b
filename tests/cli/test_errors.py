"""Whatever goes wrong in a command: one line on standard error, and the exit status that it means."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import torch
import torchvision
import typer
from PIL import Image

from tobias_aug.cli import app
from tobias_aug.errors import MissingMaskError, TableError


def leaves(command, path=()):
    if hasattr(command, "commands"):
        return [leaf for name, each in command.commands.items() for leaf in leaves(each, (*path, name))]
    return [path]


COMMANDS = leaves(typer.main.get_command(app))
EVERY = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def run_failing(path, error, *before):
    """Run a command whose work raises ``error``; the exit status."""
    root = command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    for parameter in command.params:
        parameter.required = False

    def fail(**_):
        raise error

    command.callback = fail
    with pytest.raises(SystemExit) as left:
        root(args=[*before, *path], prog_name="tobias-aug")
    return left.value.code


ERRORS = {
    "ours": (TableError("t is not a mask table"), 2, "tobias-aug: t is not a mask table\n"),
    "a missing key": (MissingMaskError("no mask for 'a'"), 2, "tobias-aug: no mask for 'a'\n"),
    "a value": (ValueError("seed is a whole number"), 2, "tobias-aug: seed is a whole number\n"),
    "a file": (FileNotFoundError(2, "No such file", "x"), 2, "tobias-aug: [Errno 2] No such file: 'x'\n"),
    "no extra": (ImportError("needs timm"), 2, "tobias-aug: needs timm\n"),
    "a fault": (KeyError("a"), 2, "tobias-aug: KeyError: 'a'; add --traceback to see where, and report it with that\n"),
    "torch": (RuntimeError("shapes\n differ"), 2, "tobias-aug: RuntimeError: shapes; add --traceback"),
    "no message": (AssertionError(), 2, "tobias-aug: AssertionError: no message; add --traceback"),
    "an end": (EOFError("Ran out of input"), 2, "tobias-aug: EOFError: Ran out of input; add --traceback"),
    "memory": (
        torch.OutOfMemoryError("CUDA out of memory."),
        2,
        "tobias-aug: out of memory: CUDA out of memory.; take",
    ),
    "ctrl-C": (KeyboardInterrupt(), 130, "tobias-aug: interrupted; run the same command again to continue\n"),
    "failures listed": (typer.Exit(1), 1, ""),
    "done": (typer.Exit(), 0, ""),
}


@EVERY
@pytest.mark.parametrize("error", ERRORS)
def test_every_command_leaves_with_one_line(path, error, capsys):
    raised, status, line = ERRORS[error]
    assert run_failing(path, raised) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert line in said.err
    assert said.err.count("\n") == (1 if line else 0)


@EVERY
def test_every_command_shows_a_traceback_on_demand(path, capsys):
    assert run_failing(path, ValueError("wrong"), "--traceback") == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Traceback (most recent call last):"
    assert said[-2:] == ["ValueError: wrong", "tobias-aug: wrong"]


@EVERY
def test_every_command_has_help_and_rejects_what_it_does_not_know(path, tobias):
    assert tobias(*path, "--help")[0] == 0
    status, _, err = tobias(*path, "--no-such-option")
    assert status == 2
    assert "No such option" in err


def test_traceback_may_stand_anywhere(tobias, tmp_path):
    for place in range(3):
        given = ["masks", "verify", tmp_path, "--images", tmp_path]
        given.insert(place, "--traceback")
        status, _, err = tobias(*given)
        assert status == 2
        assert err.startswith("Traceback (most recent call last):")
    status, _, err = tobias("export", "detectron2", "-o", tmp_path / "x.pkl", "--", "--traceback")
    assert (status, err) == (2, "tobias-aug: no checkpoint at --traceback\n")


def test_version(tobias):
    assert tobias("--version") == (0, f"tobias-aug {version('tobias-aug')}\n", "")


@pytest.mark.parametrize(("device", "said"), [("foo", "unknown device 'foo'; choose"), ("meta", "0 meta")])
@pytest.mark.parametrize(
    "command",
    [
        ("masks", "build", "photos", "-o", "out", "--localizer", "center-prior"),
        ("orand", "cams", "photos", "-o", "out", "--arch", "resnet18", "--weights", "r18.pth"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_device_that_is_not_there_is_named(tobias, photos, tmp_path, monkeypatch, command, device, said):
    monkeypatch.chdir(tmp_path)
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), "r18.pth")
    status, _, err = tobias(*command, "--device", device)
    assert status == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named_before_anything_is_written(tobias, photos, tmp_path):
    status, _, err = tobias("masks", "build", photos, "-o", tmp_path / "out", "--arch", "resnet18", "--device", "cuda")
    assert (status, err) == (
        2,
        "tobias-aug: device 'cuda' is not there: this machine has 0 cuda devices; choose from auto, cpu\n",
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["cut", "empty", "noise"])
@pytest.mark.parametrize(
    "command",
    [
        ("masks", "build", "photos", "-o", "out", "--arch", "resnet18", "--weights", "own.pth"),
        ("orand", "cams", "photos", "-o", "out", "--arch", "resnet18", "--weights", "own.pth"),
        ("export", "detectron2", "own.pth", "-o", "out.pkl"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_damaged_checkpoint_is_one_line(tobias, photos, tmp_path, monkeypatch, command, content):
    monkeypatch.chdir(tmp_path)
    torch.save(torchvision.models.resnet18().state_dict(), "own.pth")
    whole = (tmp_path / "own.pth").read_bytes()
    (tmp_path / "own.pth").write_bytes(
        {"cut": whole[: len(whole) // 2], "empty": b"", "noise": bytes(range(256))}[content]
    )
    status, _, err = tobias(*command)
    assert status == 2
    assert err.startswith("tobias-aug: own.pth is ")
    assert ("cut or damaged", "empty", "no checkpoint")[["cut", "empty", "noise"].index(content)] in err
    assert err.count("\n") == 1
    assert "Aborted" not in err


@pytest.mark.slow
def test_a_build_that_is_interrupted_says_that_it_continues(photos, tmp_path):
    for number in range(400):
        Image.new("RGB", (300, 300), (number % 256, 0, 0)).save(photos / f"{number}.png")
    command = [sys.executable, "-c", "from tobias_aug.cli import main; main()", "masks", "build", str(photos)]
    command += [
        "-o",
        str(tmp_path / "out"),
        "--workers",
        "2",
        "--part-size",
        "8",
        "--batch-size",
        "8",
        "--device",
        "cpu",
    ]
    command += ["--arch", "resnet50"]

    # A shell that runs the tests in the background lets them ignore the signal, and their children with them.
    def listen():
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=listen)
    limit = time.monotonic() + 300
    while not list((tmp_path / "out").glob("part-*.parquet")):
        assert running.poll() is None, running.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)  # As a terminal's ctrl-C: to all processes of the command.
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert err.splitlines()[-1] == "tobias-aug: interrupted; run the same command again to continue"
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["typer", "tobias_aug.errors", "tobias_aug.cli.masks"])
def test_an_interruption_while_it_starts_is_one_line(name):
    program = f"""
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from tobias_aug.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "tobias-aug: interrupted; run the same command again to continue\n"


def test_a_reader_that_leaves_is_no_error():
    program = "from tobias_aug.cli import main; main()"
    running = subprocess.Popen(
        [sys.executable, "-c", program, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    running.stdout.close()
    _, err = running.communicate(timeout=120)
    assert "Traceback" not in err


def test_help_and_completion_load_no_heavy_library():
    program = """
import sys
from tobias_aug.cli import main
try:
    main()
finally:
    print(sorted({"torch", "torchvision", "pyarrow", "scipy", "numpy"} & {*sys.modules}), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program, "masks", "--help"], capture_output=True, text=True)
    assert done.stderr == "[]\n"
    words = {"_TOBIAS_AUG_COMPLETE": "complete_bash", "COMP_WORDS": "tobias-aug ma", "COMP_CWORD": "1"}
    program = "import sys; sys.argv[0] = 'tobias-aug'\n" + program
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | words)
    assert done.stdout.split() == ["masks"]
    assert done.stderr == "[]\n"
