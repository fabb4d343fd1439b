"""Our own reader and writer of .npz files: the bytes are numpy's, and damaged files are rejected."""

import io
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from tobias_aug.class_maps import ClassMaps, read_class_maps, value_range, write_class_maps
from tobias_aug.class_maps.npz import read_npz, write_npz

# Wide enough for every number that npz files of maps hold, and for text.
dtypes = scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf") | st.just(np.dtype("<U5"))
any_array = arrays(dtypes, array_shapes(min_dims=0, min_side=0, max_side=4))
orders = st.sampled_from([lambda array: array, np.asfortranarray, lambda array: array[::-1] if array.ndim else array])


@given(st.dictionaries(st.sampled_from("abc"), st.builds(lambda array, order: order(array), any_array, orders)))
def test_numpy_and_we_read_each_others_files(tmp_path_factory, stored):
    path = tmp_path_factory.mktemp("npz") / "file.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, **stored)
        for name, array in read_npz(path, stored).items():
            assert array.dtype == stored[name].dtype
            assert array.flags.writeable
            np.testing.assert_array_equal(array, stored[name])
    write_npz(path, stored)
    with np.load(path, allow_pickle=False) as read:
        assert list(read) == list(stored)
        for name, array in stored.items():
            np.testing.assert_array_equal(read[name], array)


def test_the_bytes_are_numpys(tmp_path):
    maps = np.random.default_rng(0).random((2, 5, 7), dtype=np.float32)
    stored = {"metadata": np.array('{"stage": "ä"}'), "keys": np.array([3, 1]), "maps": maps}
    np.savez(tmp_path / "theirs.npz", **stored)
    write_npz(tmp_path / "ours.npz", stored)
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "theirs.npz").read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file, and what it holds."""
    path = tmp_path_factory.mktemp("npz") / "file.npz"
    maps = ClassMaps(np.array([14, 3]), np.arange(8, dtype=np.float32).reshape(2, 2, 2), {"stage": "cam"})
    write_class_maps(path, maps)
    return path, path.read_bytes(), maps


@given(index=st.integers(0), change=st.integers(1, 255))
def test_a_changed_byte_is_found(written, index, change):
    """Wherever it is: the file is rejected, or what is read is what was written (a date, say, is not read)."""
    path, content, maps = written
    changed = bytearray(content)
    changed[index % len(content)] ^= change
    path.write_bytes(changed)
    with suppress(ValueError):
        read = read_class_maps(path)
        assert read.keys.tolist() == maps.keys.tolist()
        assert np.array_equal(read.maps, maps.maps)
        assert read.metadata["stage"] == "cam"


def test_a_changed_pixel_and_a_cut_are_named(tmp_path):
    path = tmp_path / "file.npz"
    write_class_maps(path, ClassMaps(np.array([0]), np.full((1, 4, 4), 0.25, np.float32)))
    content = path.read_bytes()
    path.write_bytes(content.replace(np.float32(0.25).tobytes(), np.float32(0.5).tobytes(), 1))
    with pytest.raises(ValueError, match="holds no class maps .*checksum of maps.npy differs: the file is damaged"):
        read_class_maps(path)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="holds no class maps .*BadZipFile"):
        read_class_maps(path)


def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path):
    member = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20, 1 << 20)}
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
        archive.writestr("maps.npy", member.getvalue())
    with pytest.raises(ValueError, match="maps.npy of float32, .1048576, 1048576, 1048576., has 0 bytes"):
        read_npz(tmp_path / "file.npz", ["maps"])


def test_python_objects_are_rejected(tmp_path):
    np.savez(tmp_path / "file.npz", maps=np.array([{}, None]))
    with pytest.raises(ValueError, match="maps.npy of object"):
        read_npz(tmp_path / "file.npz", ["maps"])


@given(arrays(np.float32, array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=3)))
def test_the_range_of_values_is_numpys(maps):
    for array in (maps, np.asfortranarray(maps), maps[::-1], maps.astype(">f4")):
        least, most = value_range(array)
        expected = (array.min(), array.max()) if array.size else (0, 0)
        np.testing.assert_array_equal([least, most], expected)
    maps.flags.writeable = False
    np.testing.assert_array_equal(value_range(maps), expected)
