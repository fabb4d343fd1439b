import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.masks.test_regions import flood
from tobias_aug import scda_box

values = st.floats(-100, 100, width=32)


@given(arrays("float32", st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=values), st.integers(7, 40))
def test_the_box_is_that_of_the_definition(heat, side):
    box = scda_box(torch.from_numpy(heat), (side, 2 * side))
    above = heat > torch.from_numpy(heat).mean().item()
    components = flood(above)
    if not components:
        assert box == (0, 0, 2 * side, side)
        return
    component = max(components, key=len)
    rows, columns = heat.shape
    # Nearest neighbour: pixel y shows row floor(y * rows / side).
    ys = [y for y in range(side) if any(y * rows // side == row for row, _ in component)]
    xs = [x for x in range(2 * side) if any(x * columns // (2 * side) == column for _, column in component)]
    assert box == (min(xs), min(ys), max(xs) + 1, max(ys) + 1)


def test_hand_computed():
    heat = torch.tensor([[0.0, 9, 9, 0], [0, 9, 0, 0], [0, 0, 0, 0], [9, 0, 0, 0]])
    assert scda_box(heat, (224, 224)) == (56, 0, 168, 112)


def test_a_flat_heat_map_gives_the_whole_image():
    assert scda_box(torch.ones(7, 7), (30, 20)) == (0, 0, 20, 30)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN in the heat map"):
        scda_box(torch.tensor([[np.nan, 1.0]]), (4, 4))
