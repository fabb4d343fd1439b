"""Documents say what runs and code say."""

import io
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.tables import documents, filled
from tests.commands import argparse_rejects, commands, typer_rejects
from tools.gallery import images

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/**/*.md")), *ROOT.glob("benchmarks/*.md")]
COMMANDS: dict[str, bool] = {}
for _page in PAGES:
    for _command, _whole in commands(_page.read_text(encoding="utf-8")).items():
        COMMANDS[_command] = _whole or COMMANDS.get(_command, False)


def test_tables_are_those_of_the_committed_results():
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, f"run python -m benchmarks.tables: {path.name} is stale"


def test_a_mark_that_is_not_understood_is_rejected():
    with pytest.raises(ValueError, match="1 tables are marked and 0 understood"):
        filled("<!-- results: a rows: p+1 -->\n<!-- end of results -->\n", {})


def test_links_between_documents_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readmes_code_runs_as_it_stands(photos, tmp_path):
    """Its commands on a folder of images, then its Python blocks one after the other in a fresh interpreter."""
    photos.rename(tmp_path / "IMAGES")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in re.findall(r"^tobias-aug masks [^#\n]*", text, re.MULTILINE):
        words = [sys.executable, "-c", "from tobias_aug.cli import main; main()", *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 6
    seen = """
assert images.shape == (8, 3, 224, 224) and len(table) == len(dataset) and labels.shape == (4,)
(views, _), _, names = next(iter(DataLoader(LightlyDataset("IMAGES"), batch_size=4, collate_fn=collate)))
assert views.shape == (4, 3, 224, 224) and len(names) == 4
(first, second), targets = next(iter(DataLoader(dataset, batch_size=4)))
assert first.shape == second.shape == (4, 3, 224, 224)
print("as it should be")
"""
    (tmp_path / "blocks.py").write_text("".join(blocks) + seen, encoding="utf-8")
    done = subprocess.run([sys.executable, "blocks.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "as it should be" in done.stdout


def test_the_readmes_first_screen_says_what_it_is():
    opening = (ROOT / "README.md").read_text(encoding="utf-8")[:1200]
    assert "PyTorch library" in opening
    for host in ("torchvision v2", "albumentations", "lightly", "detectron2", "mmsegmentation"):
        assert host in opening


def test_the_code_of_the_guide_to_localizers_runs(tmp_path, monkeypatch):
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.save({"state_dict": torchvision.models.resnet50().state_dict()}, tmp_path / "checkpoint.pth")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "localizers.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(block, names)
    assert names["cam"].heatmaps(torch.zeros(1, 3, 224, 224)).shape == (1, 7, 7)


def test_the_code_of_the_guide_to_scale_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "scale.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    assert names["image"].size == (60, 40)


def test_the_code_of_the_guide_to_tables_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "masks.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    assert len(names["rows"]) == 8


def test_the_code_of_the_guide_to_adaptation_runs():
    text = (ROOT / "docs" / "adaptation.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    assert set(names["metrics"].compute()) == {"OS", "OS*", "UNK", "ALL", "H"}


def test_every_page_with_code_has_a_test_that_runs_it():
    tests = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    for page in PAGES:
        if "```python\n" in page.read_text(encoding="utf-8"):
            assert any(
                f'"{page.name}"' in text and ("exec(" in text or "images(" in text) for text in tests.values()
            ), f"no test runs the Python blocks of {page.name}"


def test_the_gallerys_code_makes_its_images():
    pytest.importorskip("skimage", reason="needs the extra demo")
    made = images((ROOT / "docs" / "gallery.md").read_text(encoding="utf-8"))
    assert len(made) >= 6
    for name, content in made.items():
        image = Image.open(io.BytesIO(content))
        assert image.width > 800, name
        assert len(image.resize((64, 64)).getcolors(4096)) > 100, f"{name} is empty"


def test_a_gallery_step_without_a_image_is_rejected():
    with pytest.raises(ValueError, match="needs a line <!-- image: name"):
        images("```python\nimage = None\n```\n")


def test_the_documents_speak_of_commands():
    programs = {command.split()[0] for command in COMMANDS}
    assert {"tobias-aug", "python", "make", "pip"} <= programs
    assert len(COMMANDS) >= 40


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_documents_exist_with_these_options(command, monkeypatch):
    """They are parsed and not run: they speak of data that is not here."""
    program, *words = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words if "=" not in word} <= set(targets)
    elif program == "pip":
        extras = re.findall(r"^([\w]+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(re.findall(r"[\w]+", "".join(re.findall(r"\[(.*?)\]", command)))) <= set(extras)
    elif program == "tobias-aug":
        assert typer_rejects(words) is None
    else:
        if words[1].split(".")[0] not in ("benchmarks", "tobias_aug", "tools"):
            pytest.skip("a program of others")
        if "detectron2" in command and find_spec("detectron2") is None:
            pytest.skip("needs detectron2, which is installed by its own guide")
        assert argparse_rejects(words, COMMANDS[command], monkeypatch, ROOT) is None


def test_a_command_that_is_not_so_is_seen(monkeypatch):
    assert "No such option" in typer_rejects(["masks", "build", "IMAGES", "-o", "MASKS", "--bogus", "1"])
    assert typer_rejects(["masks", "paint", "IMAGES"]) == "no command masks paint"
    assert "IMAGES" in typer_rejects(["masks", "build", "-o", "MASKS", "--seed", "0"])
    assert "--bogus" in argparse_rejects(["-m", "benchmarks.tables", "--check", "--bogus"], True, monkeypatch, ROOT)
    assert argparse_rejects(["-m", "benchmarks.tables", "--check"], True, monkeypatch, ROOT) is None
