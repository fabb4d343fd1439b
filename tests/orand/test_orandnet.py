import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tobias_aug import ORANDNet


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return ORANDNet(padding=1, width=4).eval()


@given(st.integers(16, 200), st.integers(16, 200))
@settings(max_examples=8, deadline=None)
def test_logits_have_the_maps_height_and_width(small, height, width):
    with torch.inference_mode():
        assert small(torch.rand(1, 1, height, width)).shape == (1, 1, height, width)
