"""Damaged tables and class activation maps: rejected by name, or read as they were, by a process that does not mind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["table", "maps"])
def test_damaged_files_are_rejected_by_name(kind, tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "tests.bad_input.mutated", kind, "600", "1", str(tmp_path / "f")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["rejected"] > 250
    if kind == "table":  # Checksums find every change; where only the index is damaged it is made anew.
        assert found["read"] > 50
        assert found["read otherwise"] == 0
    assert found["megabytes"] < 64
