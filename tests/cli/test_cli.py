import json
import subprocess
import sys

import pytest
import torch
import torchvision
from PIL import Image

pytest.importorskip("skimage", reason="needs the extra demo")


def tobias(*arguments):
    command = [sys.executable, "-c", "from tobias_aug.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def build(photos, out, *more):
    arch = [] if "--localizer" in more else ["--arch", "resnet18"]
    return tobias("masks", "build", photos, "-o", out, *arch, "--workers", 0, *more)


@pytest.mark.slow
def test_demo_draws_a_sheet(tmp_path):
    done = tobias("demo", "-o", tmp_path / "demo", "--arch", "resnet18")
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "demo" / "sheet.png") in done.stdout
    with Image.open(tmp_path / "demo" / "sheet.png") as sheet:
        assert sheet.width > 1000
        assert sheet.height > 1000
        assert len(sheet.convert("P", palette=Image.Palette.ADAPTIVE).getcolors()) == 256


def test_build_show_verify(photos, tmp_path):
    out = tmp_path / "masks"
    done = build(photos, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: 12 masks of 12 images\n"
    assert "masks: 12/12 images," in done.stderr
    shown = tobias("masks", "show", out, "--images", photos, "-n", 3, "-o", tmp_path / "sheet.png")
    assert shown.returncode == 0, shown.stderr
    assert Image.open(tmp_path / "sheet.png").height > 100
    good = tobias("masks", "verify", out, "--images", photos)
    assert good.returncode == 0
    assert good.stdout.splitlines()[1:] == ["missing: 0", "extra: 0", "changed: 0"]
    (photos / "cat" / "01.jpg").rename(photos / "new.jpg")
    bad = tobias("masks", "verify", out, "--images", photos, "-n", 0)
    assert bad.returncode == 1
    assert bad.stdout.splitlines()[1:] == ["missing: 1 (new.jpg)", "extra: 1 (cat/01.jpg)", "changed: 0"]


def test_failures_are_listed_with_status_one(photos, tmp_path):
    (photos / "bad.jpg").touch()
    done = build(photos, tmp_path / "out")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].endswith("12 masks of 13 images")
    assert "1 images could not be read; the reasons are in" in done.stdout
    assert json.loads((tmp_path / "out" / "failures.jsonl").read_text())["key"] == "bad.jpg"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("masks", "build", "nowhere", "-o", "out"),
            "nowhere does not exist; give a folder with images in it",
        ),
        (("masks", "build", "empty", "-o", "out"), "empty holds no images; looked for"),
        (("masks", "build", "photos", "-o", "out", "--arch", "resnet7"), "tobias-aug: unknown arch 'resnet7'"),
        (("masks", "show", "empty", "--images", "photos", "-o", "x.png"), "empty is not a mask table"),
        (("masks", "verify", "old", "--images", "photos"), "has format version 99, this release reads 1"),
    ],
)
def test_rejections_are_one_line_and_status_two(photos, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "table.json").write_text('{"format_version": 99}')
    done = tobias(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("localizer", ["border-contrast", "center-prior"])
def test_any_localizer_can_be_shown_and_verified(photos, tmp_path, localizer):
    assert build(photos, tmp_path / "out", "--localizer", localizer).returncode == 0
    shown = tobias("masks", "show", tmp_path / "out", "--images", photos, "-o", tmp_path / "sheet.png", "-n", 2)
    assert shown.returncode == 0, shown.stderr
    assert tobias("masks", "verify", tmp_path / "out", "--images", photos).returncode == 0


@pytest.mark.slow
def test_own_weights_are_asked_for_again(photos, tmp_path):
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "own.pth")
    done = build(photos, tmp_path / "out", "--weights", tmp_path / "own.pth")
    assert done.returncode == 0, done.stderr
    verify = ("masks", "verify", tmp_path / "out", "--images", photos)
    asked = tobias(*verify)
    assert asked.returncode == 2
    assert "made with weights of your own; give their checkpoint by --weights" in asked.stderr
    good = tobias(*verify, "--weights", tmp_path / "own.pth")
    assert good.stdout.splitlines()[-1] == "changed: 0", good.stderr


@pytest.mark.slow
def test_another_localizer_is_rejected_with_status_two(photos, tmp_path):
    assert build(photos, tmp_path / "out").returncode == 0
    done = build(photos, tmp_path / "out", "--seed", 1)
    assert done.returncode == 2
    assert "localizer.options.seed is 0 there and 1 here; choose another folder" in done.stderr


@pytest.mark.parametrize(
    "command", [[], ["demo"], ["masks"], ["masks", "build"], ["masks", "show"], ["masks", "verify"]]
)
def test_every_command_has_help(command):
    done = tobias(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
