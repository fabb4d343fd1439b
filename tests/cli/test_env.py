"""``tobias-aug env``."""

import platform
from importlib.metadata import version


def test_versions_stand_one_per_line(tobias):
    status, output, _ = tobias("env")
    assert status == 0
    lines = dict(line.split(": ", 1) for line in output.splitlines())
    assert lines["python"] == platform.python_version()
    for name in ("tobias-aug", "torch", "numpy"):
        assert lines[name] == version(name)
    assert lines["GPUs"]
