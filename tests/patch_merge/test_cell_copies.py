"""On the CPU cells are copied one by one; the pixels are those that the gather of GPUs and gradients takes."""

import pytest
import torch

from tobias_aug import half_mask
from tobias_aug.masks import cell_edges
from tobias_aug.patch_merge import draw_merge, fill_slots
from tobias_aug.patch_merge.kernels import _gather_pixels

DTYPES = [torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64]
BATCHES = [(6, 3, 16, 24), (1, 1, 4, 4), (5, 2, 9, 7), (0, 3, 8, 8)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", BATCHES, ids=str)
@pytest.mark.parametrize("grid", [2, 4])
def test_the_copies_are_those_of_the_gather(dtype, shape, grid):
    random = torch.Generator().manual_seed(0)
    images = (torch.rand(shape, generator=random) * 255).to(dtype)
    params = draw_merge(half_mask(torch.rand(len(images), grid, grid, generator=random)), p=0.7, generator=random)
    gathered, edges = images.clone(), [cell_edges(side, grid) for side in shape[2:]]
    _gather_pixels(gathered, images, params["partner"], params["donors"], *edges)
    for layout in (torch.contiguous_format, torch.channels_last):
        # The second time, the two lie differently in memory.
        for background in (images.contiguous(memory_format=layout), images):
            merged = images.contiguous(memory_format=layout).clone()
            fill_slots(merged, background, params["partner"], params["donors"])
            assert torch.equal(merged, gathered)
