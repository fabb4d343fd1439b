"""The guide's code runs, and does what its comments say."""

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

import torch

GUIDE = Path(__file__).parents[3] / "docs" / "mmseg.md"


def test_the_guides_code_runs(scenes, tmp_path, monkeypatch, capsys):
    shutil.copytree(scenes / "images", tmp_path / "VOC2012" / "JPEGImages")
    shutil.copytree(scenes / "first", tmp_path / "VOC2012" / "cams_resnet")
    shutil.copytree(scenes / "second", tmp_path / "VOC2012" / "cams_vit")
    (tmp_path / "VOC2012" / "train.txt").write_text("scene_0\nscene_3\n")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    names = {}
    for number, block in enumerate(blocks):
        exec(block, names)
        if number == 2:
            assert names["config"].custom_hooks[0].reductions == (8, 4, 2)
    assert names["mask"].shape == (1, 48, 64)
    features = names["backbone"](torch.zeros(1, 3, 32, 32))
    assert names["head"](features).shape == (1, 21, 4, 4)
    printed = capsys.readouterr().out.strip()
    assert f"# {printed}" in GUIDE.read_text(encoding="utf-8")
