"""Read damaged files and say what came of each: ``python -m tests.bad_input.mutated KIND COUNT SEED FOLDER``.

A process of its own, so that a reader that crashes, hangs or takes all memory is seen from outside.
"""

from __future__ import annotations

import json
import pickle
import resource
import sys
from pathlib import Path

import numpy as np
import torch

from tests.masks.made_up import make_table
from tobias_aug import MaskTable, TobiasError
from tobias_aug.class_maps import ClassMaps, read_class_maps, write_class_maps

KEYS = [f"folder/{number:03d}.jpg" for number in range(40)]
MAPS = np.random.default_rng(0).random((2, 12, 10)).astype(np.float32)


def table_files(folder):
    make_table(folder, KEYS, part_size=16, failures=[("bad.jpg", "damaged")])
    return [folder / name for name in ("part-00001.parquet", "table.json", "index/lookup-1.bin")]


def read_table(folder):
    table = MaskTable.open(folder)
    return [table[key].tolist() for key in table.keys()], [table.scores(key).tolist() for key in table.keys()]


def map_files(folder):
    """One file of each layout: ours, IRN's with NumPy and with torch inside, MCTformer's."""
    content = ClassMaps(np.array([3, 7]), MAPS)
    for suffix in ("npz", "safetensors"):
        write_class_maps(folder / f"own.{suffix}", content)
    irn = {"keys": np.array([3, 7]), "high_res": MAPS}
    stored = {"irn": irn, "torch": {**irn, "high_res": torch.from_numpy(MAPS)}, "mct": {3: MAPS[0], 7: MAPS[1]}}
    for name, maps in stored.items():
        np.save(folder / f"{name}.npy", maps, allow_pickle=True)
    return sorted(folder.iterdir())


def damaged(content, others, random):
    """The bytes with some flipped, cut off, repeated, or exchanged for those of another file."""
    data = bytearray(content)
    kind = random.integers(4)
    at = int(random.integers(len(data)))
    if kind == 0:
        for place in random.integers(len(data), size=random.integers(1, 6)):
            data[place] ^= 1 << int(random.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = data[at : at + int(random.integers(1, 64))]
    else:
        other = others[int(random.integers(len(others)))]
        data[at:] = other[at:]
    return bytes(data)


def main():
    kind, count, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    if kind == "table":
        files = table_files(folder)
        expected = read_table(folder)
    else:
        files = map_files(folder)
        expected = [read_class_maps(file) for file in files]
    whole = [file.read_bytes() for file in files]
    counts = {"rejected": 0, "read": 0, "read otherwise": 0}
    wrong = []
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        chosen = number % len(files)
        content = damaged(whole[chosen], whole, random)
        files[chosen].write_bytes(content)
        try:
            found = read_table(folder) if kind == "table" else read_class_maps(files[chosen])
        except (TobiasError, ValueError, pickle.UnpicklingError) as error:
            counts["rejected"] += 1
            if not any(part in str(error) for part in (files[chosen].name, str(folder))):
                wrong.append(f"{number}: {files[chosen].name} is not named by {type(error).__name__}: {error}")
        except Exception as error:
            wrong.append(f"{number}: {files[chosen].name}: {type(error).__name__}: {error}")
        else:
            same = found == expected if kind == "table" else same_maps(found, expected[chosen])
            counts["read" if same else "read otherwise"] += 1
            if kind == "table" and not same and files[chosen].suffix == ".parquet":
                wrong.append(f"{number}: {files[chosen].name} gives other masks or scores")
        for file, content in zip(files, whole, strict=True):
            if not file.exists() or file.read_bytes() != content:
                file.write_bytes(content)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**counts, "wrong": wrong, "megabytes": (peak - begun) / 1024}))


def same_maps(first, second):
    return np.array_equal(first.keys, second.keys) and np.array_equal(first.maps, second.maps)


if __name__ == "__main__":
    main()
