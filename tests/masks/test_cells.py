import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.masks import cell_edges, cells_to_pixels, half_mask, pack_cells, random_cells, unpack_cells

finite = st.floats(width=32, allow_nan=False)
grids = st.integers(2, 7)


@given(
    grids.flatmap(lambda g: arrays("float32", st.tuples(st.integers(0, 3), st.just(g), st.just(g)), elements=finite))
)
def test_keeps_exactly_half_and_never_a_worse_cell(scores):
    scores = torch.from_numpy(scores)
    kept = half_mask(scores)
    cells = scores.shape[-1] ** 2
    assert kept.flatten(1).sum(1).tolist() == [cells // 2] * len(scores)
    for image, mask in zip(scores, kept, strict=True):
        assert image[mask].min() >= image[~mask].max()


@given(arrays("float32", (4, 4), elements=st.sampled_from([0.0, 1.0, 2.0])))
def test_equal_scores_rank_by_position(scores):
    ranked = sorted(range(16), key=lambda cell: (-scores.flat[cell], cell))[:8]
    assert half_mask(torch.from_numpy(scores)).flatten().nonzero()[:, 0].tolist() == sorted(ranked)


def test_nan_is_rejected_with_a_way_out():
    with pytest.raises(ValueError, match="NaN scores; look at the images"):
        half_mask(torch.full((4, 4), torch.nan))


def test_random_cells_are_half_masks_from_the_generator():
    first, again = (random_cells(50, 5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.flatten(1).sum(1).tolist() == [12] * 50
    assert len({tuple(mask.flatten().tolist()) for mask in first}) > 45


@given(st.integers(1, 300), grids)
def test_cells_tile_a_side_evenly(length, grid):
    if length < grid:
        with pytest.raises(ValueError, match=f"{length} pixels cannot be cut into {grid} cells"):
            cell_edges(length, grid)
        return
    edges = np.array(cell_edges(length, grid))
    assert (edges[0], edges[-1]) == (0, length)
    assert set(np.diff(edges)) <= {length // grid, -(-length // grid)}


@given(grids.flatmap(lambda g: arrays(bool, (2, g, g))), st.integers(7, 40), st.integers(7, 40))
def test_a_pixel_belongs_to_the_cell_that_the_formula_says(cells, height, width):
    pixels = cells_to_pixels(torch.from_numpy(cells), height, width)
    grid = cells.shape[-1]
    for y in range(height):
        for x in range(width):
            i = max(i for i in range(grid) if i * height // grid <= y)
            j = max(j for j in range(grid) if j * width // grid <= x)
            assert pixels[:, y, x].tolist() == cells[:, i, j].tolist()


@given(grids.flatmap(lambda g: arrays(bool, st.tuples(st.integers(0, 5), st.just(g), st.just(g)))))
def test_packing_round_trips_in_as_many_bytes_as_promised(cells):
    grid = cells.shape[-1]
    packed = pack_cells(torch.from_numpy(cells))
    assert packed.shape == (len(cells), -(-grid * grid // 8))
    assert np.array_equal(unpack_cells(packed, grid).numpy(), cells)
