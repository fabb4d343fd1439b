"""The start from BorderContrast: what the mask network is fitted to, with two regions and with more."""

import numpy as np
import pytest
import torch

from tobias_aug import BorderContrast
from tobias_aug.masks.regions import otsu_threshold
from tobias_aug.redo import MaskNetwork
from tobias_aug.redo.start import BorderContrastStart, color_differences, object_shares


def two_discs(count=12, size=64):
    """Gray images with a dark and a bright disc, and masks: 0 dark, 1 bright, 2 background."""
    random = np.random.default_rng(0)
    images, masks = [], []
    y, x = np.mgrid[:size, :size]
    for _ in range(count):
        gray = random.integers(100, 160)
        image = np.full((size, size, 3), gray, np.uint8)
        mask = np.full((size, size), 2, np.uint8)
        for kind, (column, colors) in enumerate(zip((0.3, 0.7), ((0, 40), (215, 256)), strict=True)):
            inside = np.hypot(y - size * random.uniform(0.35, 0.65), x - size * column) < size / 6
            image[inside], mask[inside] = random.integers(*colors, 3), kind
        images.append(image)
        masks.append(mask)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.from_numpy(np.stack(masks))


def test_two_regions_are_fitted_to_border_contrast_above_otsus_threshold():
    images, _ = two_discs(3, 28)
    wanted = BorderContrastStart(images, 2).masks(images)
    heatmaps = BorderContrast().heatmaps(images)
    assert heatmaps.shape[1:] == (28, 28)
    objects = torch.stack([heatmap > otsu_threshold(heatmap.flatten()) for heatmap in heatmaps])
    assert torch.equal(wanted[:, 0], 0.1 + 0.8 * objects.float())
    torch.testing.assert_close(wanted.sum(1), torch.ones(3, 28, 28))


def test_more_regions_tell_objects_apart_by_their_color():
    images, truth = two_discs()
    start = BorderContrastStart(images[:8], 3)
    wanted = start.masks(images)
    torch.testing.assert_close(wanted.sum(1), torch.ones(truth.shape))
    assert wanted.min() == pytest.approx(0.1 * 2 / 3)
    found = wanted.argmax(1)
    if start.centers[0].sum() > start.centers[1].sum():
        found = torch.tensor([1, 0, 2])[found]
    inside = object_shares(images) > 0.5
    assert (found == truth)[inside & (truth < 2)].float().mean() > 0.95
    assert (found == 2)[~inside].all()
    assert torch.equal(BorderContrastStart(images[:8], 3).masks(images), wanted)


def test_the_network_is_fitted_to_them():
    images, _ = two_discs(2, 32)
    start = BorderContrastStart(images, 3)
    torch.manual_seed(0)
    network = MaskNetwork(3, 8)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        start.loss(network, images).backward()
        optimizer.step()
    assert (network(images / 127.5 - 1).argmax(1) == start.masks(images).argmax(1)).float().mean() > 0.95


def test_differences_are_from_the_borders_median():
    image = torch.full((1, 3, 5, 5), 100, dtype=torch.uint8)
    image[0, :, 0, 0], image[0, 0, 2, 2] = 250, 151
    differences = color_differences(image)
    assert differences[0, 0, 2, 2] == pytest.approx(51 / 255)
    assert differences[0, 1, 2, 2] == 0
    assert differences[0, 2, 0, 0] == pytest.approx(150 / 255)


def test_objects_of_one_color_are_not_told_apart():
    image = torch.full((2, 3, 28, 28), 100, dtype=torch.uint8)
    image[:, :, 8:20, 8:20] = 200
    with pytest.raises(ValueError, match="too few colors for 5 regions; take regions=2"):
        BorderContrastStart(image, 5)
