"""A folder is fused two pairs at a time; nobody can tell from what comes out."""

import numpy as np

from tobias_aug import probabilistic_and
from tobias_aug.class_maps import ClassMaps, read_class_maps, write_class_maps
from tobias_aug.orand import fuse_folder

NAMES = [f"{number:02d}" for number in range(12)]
DAMAGED = ["03", "04", "11"]


def test_results_and_failures_are_those_of_one_after_the_other(tmp_path):
    random = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in NAMES:
            # Some take longer than others.
            side = int(random.integers(2, 200))
            maps = ClassMaps(np.arange(2), np.full((2, side, side), 0.5, np.float32))
            write_class_maps(tmp_path / folder / f"{name}.npz", maps)
    for name in DAMAGED:
        (tmp_path / "b" / f"{name}.npz").write_bytes(b"PK")
    for name in set(NAMES) - set(DAMAGED):
        first = read_class_maps(tmp_path / "a" / f"{name}.npz")
        second = ClassMaps(first.keys, random.random(first.maps.shape, dtype=np.float32))
        write_class_maps(tmp_path / "b" / f"{name}.npz", second)
    result = fuse_folder(tmp_path / "a", tmp_path / "b", tmp_path / "out", "and", quiet=True)
    assert [failure.key for failure in result.failures] == DAMAGED
    assert result.done == len(NAMES) - len(DAMAGED)
    for name in set(NAMES) - set(DAMAGED):
        pair = [read_class_maps(tmp_path / folder / f"{name}.npz").maps for folder in ("a", "b")]
        assert np.array_equal(read_class_maps(tmp_path / "out" / f"{name}.npz").maps, probabilistic_and(*pair))


def test_a_reversed_array_is_fused():
    """torch takes no array that runs backwards, not even one of a single map."""
    maps = np.array([[[0.5, 0.25]]], dtype=np.float32)[::-1]
    assert probabilistic_and(maps, maps).tolist() == [[[1.0, 0.25]]]
