"""Tables that were built before names changed open, say today's names, and continue."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tobias_aug import BorderContrast, CenterPrior, MaskTable, build_masks

EARLIER = Path(__file__).parent / "earlier"
LOCALIZERS = {"center-prior": CenterPrior, "border-contrast": BorderContrast}


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(6):
        pixels = random.integers(0, 256, (24, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.parametrize("name", LOCALIZERS)
def test_a_build_continues_the_parts_of_an_earlier_version(name, images, tmp_path):
    table = tmp_path / name
    shutil.copytree(EARLIER / name, table)
    stored = (table / "part-00000.parquet").read_bytes()
    time = (table / "part-00000.parquet").stat().st_mtime_ns
    assert "centre" in (table / "table.json").read_text() or "colour" in (table / "table.json").read_text()
    again = build_masks(images, LOCALIZERS[name](), table, quiet=True)
    assert (table / "part-00000.parquet").read_bytes() == stored
    assert (table / "part-00000.parquet").stat().st_mtime_ns == time
    anew = build_masks(images, LOCALIZERS[name](), tmp_path / "anew", quiet=True)
    assert all((again[key] == anew[key]).all() for key in anew.keys())


@pytest.mark.parametrize("name", LOCALIZERS)
def test_an_earlier_table_says_todays_names(name, tmp_path):
    shutil.copytree(EARLIER / name, tmp_path / name)
    described = json.dumps(MaskTable.open(tmp_path / name).description.localizer)
    assert "centre" not in described
    assert "colour" not in described
    assert f'"{name}"' in described
