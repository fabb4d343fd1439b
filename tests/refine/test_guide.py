"""The code of the page on refinement and IRN runs, and does what its comments say."""

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "refinement.md"


def test_the_pages_code_runs():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    assert names["refined"].maps[0, 20:44, 30:66].min() > names["refined"].maps[0, :12].max()
    assert names["refined_mask"].shape == (64, 96)
    assert names["walked"].shape == (2, 15, 23)
