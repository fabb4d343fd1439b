import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tobias_aug.irn import directions, random_walk, transitions
from tobias_aug.irn.affinity import affinity


def dense_affinity(edges, radius):
    """Every pair of pixels by the definition: 1 - the strongest edge at a distance below one from the line between."""
    rows, columns = edges.shape
    pixels = list(np.ndindex(rows, columns))
    matrix = np.zeros((len(pixels), len(pixels)))
    for one, (y, x) in enumerate(pixels):
        for other, (v, u) in enumerate(pixels):
            length = np.hypot(v - y, u - x)
            if one == other:
                matrix[one, other] = 1
            elif length < radius:
                box = [
                    (row, column)
                    for row in range(min(y, v), max(y, v) + 1)
                    for column in range(min(x, u), max(x, u) + 1)
                ]
                path = [
                    edges[row, column]
                    for row, column in box
                    if abs((v - y) * (column - x) - (u - x) * (row - y)) / length < 1 - 1e-12
                ]
                matrix[one, other] = 1 - max(path)
    return matrix


def irns_walk(maps, edges, beta, radius, times):
    """The dense matrix, squared ``times`` times."""
    matrix = dense_affinity(edges, radius) ** beta
    matrix /= matrix.sum(0, keepdims=True)
    for _ in range(times):
        matrix = matrix @ matrix
    return ((maps * (1 - edges)).reshape(len(maps), -1) @ matrix).reshape(maps.shape)


@pytest.mark.parametrize(("radius", "beta", "times"), [(5, 10, 8), (3, 4, 5), (2, 1, 3)])
def test_the_walk_is_the_dense_matrix_to_irns_power(radius, beta, times):
    random = np.random.default_rng(0)
    maps, edges = random.random((3, 9, 12)), random.random((9, 12)) ** 3
    expected = irns_walk(maps, edges, beta, radius, times)
    exact = random_walk(*map(torch.from_numpy, (maps, edges)), beta=beta, radius=radius, steps=2**times)
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-10)
    single = random_walk(
        torch.from_numpy(maps).float(), torch.from_numpy(edges).float(), beta=beta, radius=radius, steps=2**times
    )
    # A probability of 1 - edge is rounded first and then raised to the tenth power, 256 times over.
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-3)


def test_affinities_are_the_definition():
    edges = np.random.default_rng(1).random((7, 8))
    matrix = dense_affinity(edges, 5).reshape(7, 8, 7, 8)
    for direction in directions(5):
        found = affinity(torch.from_numpy(edges)[None], direction)[0].numpy()
        sources = np.argwhere(np.ones((7, 8)))[:, :2]
        pairs = [
            matrix[y, x, y + direction.down, x + direction.right]
            for y, x in sources
            if y + direction.down < 7 and 0 <= x + direction.right < 8
        ]
        np.testing.assert_allclose(found.ravel(), pairs, rtol=1e-12)


@settings(max_examples=10)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_a_pixels_weights_sum_to_one_and_scores_stay_in_range(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    maps = torch.rand(2, rows, columns, generator=generator, dtype=torch.float64)
    _, weights = transitions(edges)
    torch.testing.assert_close(weights.sum(0), torch.ones_like(edges))
    start = maps * (1 - edges)
    walked = random_walk(maps, edges, steps=7)
    for plane, before in zip(walked, start, strict=True):
        assert plane.min() >= before.min() - 1e-12
        assert plane.max() <= before.max() + 1e-12


def test_nothing_passes_a_wall_and_everything_spreads_inside():
    edges = torch.zeros(10, 11)
    edges[:, 5] = 1
    maps = torch.zeros(1, 10, 11)
    maps[0, 2, 2] = 1
    walked = random_walk(maps, edges)[0]
    assert (walked[:, 6:] == 0).all()
    assert walked[:, :5].min() > 0.9 * walked[:, :5].max() > 0


PEAK = """
import torch

from tobias_aug.irn import random_walk

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

random_walk(torch.rand(3, 12, 9), torch.rand(12, 9), steps=1)
before = peak()
random_walk(torch.rand(3, 125, 94), torch.rand(125, 94), steps=16)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_a_voc_image_needs_megabytes_and_not_hundreds():
    """The dense matrix of 125 x 94 pixels alone has 552 MB; the peak does not depend on the number of steps."""
    result = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 50


def test_logits_are_rejected():
    with pytest.raises(ValueError, match=r"edges must lie in \[0, 1\], got \[-2, 3\]; apply a sigmoid"):
        random_walk(torch.rand(1, 1, 2), torch.tensor([[-2.0, 3.0]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees():
    maps, edges = torch.rand(2, 30, 40), torch.rand(30, 40)
    torch.testing.assert_close(
        random_walk(maps.cuda(), edges.cuda()).cpu(), random_walk(maps, edges), rtol=1e-4, atol=0
    )
