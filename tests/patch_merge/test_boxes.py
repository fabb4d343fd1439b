import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tobias_aug.masks import cells_to_pixels
from tobias_aug.patch_merge import keep_boxes


@given(st.integers(0, 2**31), st.integers(4, 40), st.integers(4, 40), st.integers(1, 4))
@settings(max_examples=60)
def test_a_box_stays_with_its_center_around_the_pixels_that_stay(seed, height, width, grid):
    random = np.random.default_rng(seed)
    kept = torch.from_numpy(random.random((grid, grid)) < 0.5)
    pixels = cells_to_pixels(kept, height, width).numpy()
    corners = np.sort(random.integers(0, (width, height), (8, 2, 2)), axis=1)
    boxes = np.concatenate([corners[:, 0], corners[:, 1] + 1], axis=1)
    stays, cut = keep_boxes(torch.from_numpy(boxes).float(), kept, height, width)
    for (xmin, ymin, xmax, ymax), stayed, found in zip(boxes, stays.tolist(), cut.tolist(), strict=True):
        assert stayed == pixels[(ymin + ymax) // 2, (xmin + xmax) // 2]
        if stayed:
            y, x = np.nonzero(pixels[ymin:ymax, xmin:xmax])
            assert found == [xmin + x.min(), ymin + y.min(), xmin + x.max() + 1, ymin + y.max() + 1]
        else:
            assert found == [xmin, ymin, xmax, ymax]


def test_points_and_no_boxes_at_all():
    kept = torch.tensor([[True, False], [False, True]])
    stays, cut = keep_boxes(torch.tensor([[2.0, 2.0, 2.0, 2.0], [5.0, 2.0, 5.0, 2.0]]), kept, 8, 8)
    assert stays.tolist() == [True, False]
    assert cut.tolist() == [[2, 2, 2, 2], [5, 2, 5, 2]]
    stays, cut = keep_boxes(torch.zeros(0, 4), kept, 8, 8)
    assert stays.shape == (0,)
    assert cut.shape == (0, 4)
