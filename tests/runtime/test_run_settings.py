"""A finished folder may move with what it was made from; another source is told from a moved one."""

import json
import shutil

import numpy as np
import pytest

from tests.orand.blobs import SIZE, write_pairs
from tobias_aug.class_maps import ClassMaps, label_folder, write_class_maps
from tobias_aug.errors import TobiasError
from tobias_aug.orand import fuse_folder
from tobias_aug.runtime.run_settings import SourceFolder, reject_other_settings

RUNS = {
    "fuse": lambda root, **options: fuse_folder(root / "cnn", root / "vit", root / "out", "and", quiet=True, **options),
    "labels": lambda root, **options: label_folder(root / "cnn", root / "out", **{"low": 0.3, **options}, quiet=True),
}


@pytest.fixture
def project(tmp_path):
    write_pairs(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("moved", ["all", "sources", "results"])
def test_a_moved_folder_is_resumed(project, tmp_path, run, moved):
    RUNS[run](project)
    target = tmp_path / "there"
    if moved == "all":
        project.rename(target)
    else:
        target.mkdir()
        for name in ("cnn", "vit", "out"):
            move = shutil.move if (name == "out") == (moved == "results") else shutil.copytree
            move(project / name, target / name)
    made = sorted((target / "out").glob("*.[np]*"))
    (lost,) = (target / "out").glob("3.*")
    before = lost.read_bytes()
    lost.unlink()
    assert RUNS[run](target).done == 6
    assert lost.read_bytes() == before if run == "labels" else lost.is_file()
    assert len(sorted((target / "out").glob("*.[np]*"))) == len(made)
    # The new path is noted, so that this folder is known by it from now on.
    assert str(target / "cnn") in (target / "out" / "settings.json").read_text()


@pytest.mark.parametrize("run", RUNS)
def test_sources_with_other_content_are_rejected_by_name(project, tmp_path, run):
    """Two classifiers' folders have the same names, and files of the same length."""
    RUNS[run](project)
    write_pairs(tmp_path / "there")
    shutil.copytree(project / "out", tmp_path / "there" / "out")
    for path in (tmp_path / "there" / "cnn").iterdir():
        write_class_maps(path, ClassMaps(np.arange(1), np.full((1, SIZE, SIZE), 0.5, np.float32)))
    with pytest.raises(TobiasError) as rejection:
        RUNS[run](tmp_path / "there")
    key = "first" if run == "fuse" else "maps"
    message = str(rejection.value)
    assert f"{key} is {project / 'cnn'} there and {tmp_path / 'there' / 'cnn'} here" in message
    assert "which does not hold the same files; choose another folder, or give the settings of this one" in message
    assert "second" not in message


@pytest.mark.parametrize("more", [True, False])
def test_a_source_may_grow(project, tmp_path, more):
    RUNS["labels"](project)
    shutil.copy(project / "cnn" / "1.npz", project / "cnn" / "new.npz")
    if more:
        project = project.rename(tmp_path / "there")
    assert RUNS["labels"](project).done == 7


def test_only_what_differs_is_named(project):
    RUNS["labels"](project)
    with pytest.raises(TobiasError) as rejection:
        RUNS["labels"](project, low=0.4)
    assert str(rejection.value) == (
        f"{project / 'out'} holds results of other settings: low is 0.3 there and 0.4 here; high is 0.3 there and 0.4 "
        "here; choose another folder, or give the settings of this one"
    )


def test_a_folder_of_an_earlier_release_noted_its_paths_alone(project):
    RUNS["labels"](project)
    path = project / "out" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "maps": str(project / "cnn")}))
    assert RUNS["labels"](project).done == 6
    project = project.rename(project.with_name("there"))
    with pytest.raises(TobiasError, match="which does not hold the same files"):
        RUNS["labels"](project)


def test_any_nesting_is_compared(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("x")
    source = SourceFolder(tmp_path / "a", [tmp_path / "a" / "x"])
    given = {"net": {"width": 4}, "maps": [source], "scales": (1.0, 0.5), "new": None}
    file = tmp_path / "settings.json"
    reject_other_settings(file, given)
    reject_other_settings(file, given)
    for change, reason in (
        ({"net": {"width": 8}}, "net.width is 4 there and 8 here"),
        ({"net": {"width": 4, "depth": 1}}, "net.depth is not set there and 1 here"),
        ({"net": {}}, "net.width is 4 there and not set here"),
        ({"scales": (1.0, 0.25)}, r"scales\[1\] is 0.5 there and 0.25 here"),
        ({"scales": (1.0,)}, r"scales is \[1.0, 0.5\] there and \[1.0\] here"),
    ):
        with pytest.raises(TobiasError, match=f"other settings: {reason}; choose another folder"):
            reject_other_settings(file, {**given, **change})
    file.write_text("{")
    with pytest.raises(TobiasError, match="settings.json is damaged .*; choose another folder"):
        reject_other_settings(file, given)
