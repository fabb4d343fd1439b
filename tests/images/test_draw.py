"""Drawings of images of any mode and shape."""

import numpy as np
import pytest
import torch
from PIL import Image

from tobias_aug.images import cells_overlay, contact_sheet, heat_overlay, to_rgb

RAMP = np.linspace(0, 65535, 40 * 60).reshape(40, 60).astype(np.uint16)
IMAGES = {
    "L": Image.fromarray((RAMP >> 8).astype(np.uint8)),
    "I;16": Image.fromarray(RAMP),
    "I": Image.fromarray(RAMP.astype(np.int32)),
    "RGBA": Image.fromarray((RAMP >> 8).astype(np.uint8)).convert("RGBA"),
    "P": Image.fromarray((RAMP >> 8).astype(np.uint8)).convert("P"),
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES.keys())
def test_every_mode_is_drawn_as_the_rgb_that_masks_are_made_from(image):
    cells, heatmap = torch.eye(4, dtype=torch.bool), torch.rand(4, 4)
    rgb = to_rgb(image)
    assert cells_overlay(image, cells).tobytes() == cells_overlay(rgb, cells).tobytes()
    assert heat_overlay(image, heatmap).tobytes() == heat_overlay(rgb, heatmap).tobytes()
    assert contact_sheet([[image]], ["a"], ["b"]).tobytes() == contact_sheet([[rgb]], ["a"], ["b"]).tobytes()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2000, 1), (1, 2000), (3, 900)])
def test_the_smallest_and_thinnest_images_are_drawn(size):
    image = Image.new("RGB", size, "red")
    row = [image, heat_overlay(image, torch.rand(7, 7)), cells_overlay(image, torch.ones(4, 4, dtype=torch.bool))]
    sheet = contact_sheet([row], ["a", "b", "c"], ["thin"], tile=64)
    assert (np.asarray(sheet) == (255, 0, 0)).all(-1).any()
