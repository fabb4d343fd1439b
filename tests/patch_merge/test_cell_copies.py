"""On the CPU cells are copied one by one or all at once, whichever is faster; the pixels are the same."""

import pytest
import torch

from tobias_aug import half_mask
from tobias_aug.patch_merge import functional
from tobias_aug.patch_merge.functional import draw_merge, fill_slots

DTYPES = [torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64]
BATCHES = [(6, 3, 16, 24), (1, 1, 4, 4), (5, 2, 8, 8), (0, 3, 8, 8)]


def merged(images, background, params, limit, monkeypatch):
    monkeypatch.setattr(functional, "SMALL_IMAGE", limit)
    result = images.clone()
    fill_slots(result, background, params["partner"], params["donors"])
    return result


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", BATCHES, ids=str)
@pytest.mark.parametrize("grid", [2, 4])
def test_all_at_once_and_one_by_one_agree(monkeypatch, dtype, shape, grid):
    random = torch.Generator().manual_seed(0)
    images = (torch.rand(shape, generator=random) * 255).to(dtype)
    params = draw_merge(half_mask(torch.rand(len(images), grid, grid, generator=random)), p=0.7, generator=random)
    for layout in (torch.contiguous_format, torch.channels_last):
        ours = images.contiguous(memory_format=layout)
        one_by_one = merged(ours, ours, params, -1, monkeypatch)
        assert torch.equal(merged(ours, ours, params, 1 << 40, monkeypatch), one_by_one)
        # Where the two lie differently in memory.
        assert torch.equal(merged(ours, images.clone(), params, 1 << 40, monkeypatch), one_by_one)


def test_the_pixels_are_those_that_the_gather_takes(monkeypatch):
    """The path of GPUs and gradients, which shares no code with the copies."""
    images = torch.rand(8, 3, 16, 16)
    params = draw_merge(half_mask(torch.rand(8, 4, 4)), p=1.0)
    gathered = images.clone()
    fill_slots(gathered, images.clone().requires_grad_(), params["partner"], params["donors"])
    for limit in (-1, 1 << 40):
        assert torch.equal(merged(images, images, params, limit, monkeypatch), gathered.detach())
