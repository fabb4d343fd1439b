"""What a user meets first: names, import time, metadata."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import tobias_aug
from tools import public_names

HOSTS = ["lightly", "albumentations", "detectron2", "mmseg", "lightning", "pytorch_lightning", "sklearn", "skimage"]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_every_public_name_is_there_and_loads_no_host():
    loaded = run(
        f"import sys, tobias_aug; [getattr(tobias_aug, name) for name in tobias_aug.__all__];"
        f"print([host for host in {HOSTS} if host in sys.modules])"
    )
    assert loaded == "[]"
    assert set(tobias_aug.__all__) <= set(dir(tobias_aug))


def test_import_is_as_light_as_torch():
    """At most 0.2 s above torch; the best of three, since the machine may be busy."""
    code = (
        "import time, torch; begun = time.perf_counter(); import tobias_aug; print(time.perf_counter() - begun);"
        "import sys; assert 'torchvision' not in sys.modules and 'pyarrow' not in sys.modules"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.2


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match="has no attribute 'Tobias'; it has .*RandomCNN"):
        tobias_aug.Tobias  # noqa: B018


def test_version_is_the_distributions():
    assert tobias_aug.__version__.split(".")[0].isdigit()


def test_integrations_are_part_of_the_package():
    import tobias_aug.integrations

    assert Path(tobias_aug.integrations.__file__).parent.name == "integrations"


def test_a_missing_host_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightly", None)
    monkeypatch.delitem(sys.modules, "tobias_aug.integrations.lightly", raising=False)
    with pytest.raises(
        ImportError, match=r"needs lightly; install the extra .lightly., in a clone .* pip install '.\[lightly\]'"
    ):
        import tobias_aug.integrations.lightly  # noqa: F401


def test_a_missing_host_without_an_extra_names_its_guide(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tobias_aug.integrations.detectron2")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(ImportError, match=r"needs detectron2; install it by its own guide: https://detectron2\."):
        import tobias_aug.integrations.detectron2  # noqa: F401


def test_the_public_names_are_those_that_are_listed():
    """So that a change of the surface is seen: a new, removed or renamed name changes the file as well."""
    listed = public_names.FILE.read_text(encoding="utf-8").split()
    assert public_names.public_names() == listed, "run python -m tools.public_names and look at the difference"


def test_each_public_name_is_there():
    for name in public_names.public_names():
        package, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(package), attribute) is not None
