"""The redraw and its losses against loops written from the formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.images.squares import to_signed
from tobias_aug.redo.model import ReDOModel
from tobias_aug.redo.options import ReDOOptions
from tobias_aug.redo.redraw import (
    compose,
    discriminator_loss,
    generator_loss,
    has_collapsed,
    information_loss,
    redraw,
    region_areas,
)

TINY = {"size": 16, "mask_width": 4, "generator_width": 8, "discriminator_width": 8, "z_size": 3, "batch_size": 2}


def floats(low, high):
    return st.floats(low, high, width=32)


@st.composite
def scenes(draw):
    """Images, masks that sum to 1, and a drawing of every region."""
    batch, regions, height, width = (draw(st.integers(*limits)) for limits in ((1, 3), (2, 4), (1, 4), (1, 4)))
    images = draw(arrays("float32", (batch, 3, height, width), elements=floats(-1, 1)))
    drawn = draw(arrays("float32", (batch, regions, 3, height, width), elements=floats(-1, 1)))
    raw = draw(arrays("float32", (batch, regions, height, width), elements=floats(0.125, 1)))
    return images, raw / raw.sum(1, keepdims=True), drawn


@given(scenes())
def test_one_region_comes_from_its_drawing_and_the_others_from_the_image(scene):
    images, masks, drawn = scene
    for region in range(masks.shape[1]):
        expected = np.zeros_like(images)
        for other in range(masks.shape[1]):
            values = drawn[:, region] if other == region else images
            expected += masks[:, other, None] * values
        found = redraw(*map(torch.from_numpy, (images, masks, drawn[:, region])), region)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@given(scenes())
def test_composing_sums_every_drawing_under_its_mask(scene):
    _, masks, drawn = scene
    expected = sum(masks[:, region, None] * drawn[:, region] for region in range(masks.shape[1]))
    np.testing.assert_allclose(compose(torch.from_numpy(masks), torch.from_numpy(drawn)).numpy(), expected, atol=1e-5)


@given(
    arrays("float32", st.integers(1, 6), elements=floats(-4, 4)),
    arrays("float32", st.integers(1, 6), elements=floats(-4, 4)),
)
def test_the_hinge_losses_are_the_papers_objectives_with_the_sign_turned(real, fake):
    objective = np.mean([min(0.0, -1 + score) for score in real]) + np.mean([min(0.0, -1 - score) for score in fake])
    found = discriminator_loss(torch.from_numpy(real), torch.from_numpy(fake))
    assert float(found) == pytest.approx(-objective, abs=1e-5)
    assert float(generator_loss(torch.from_numpy(fake))) == pytest.approx(-float(np.mean(fake)), abs=1e-5)


@given(arrays("float32", st.tuples(*[st.integers(1, 4)] * 3), elements=floats(-4, 4)), st.integers(0, 99))
def test_the_information_term_is_the_squared_distance_per_image(noise, seed):
    estimated = np.random.default_rng(seed).normal(size=noise.shape).astype("float32")
    expected = np.mean(
        [np.linalg.norm((one - other).ravel()) ** 2 for one, other in zip(estimated, noise, strict=True)]
    )
    found = information_loss(torch.from_numpy(estimated), torch.from_numpy(noise))
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(st.lists(st.tuples(floats(0, 1), floats(0, 1)), min_size=2, max_size=4), floats(0, 0.5))
def test_a_training_has_collapsed_where_a_region_vanishes_from_both_sets(areas, smallest):
    train, validation = zip(*areas, strict=True)
    expected = min(train) < smallest and min(validation) < smallest
    assert has_collapsed(torch.tensor(train), torch.tensor(validation), smallest) == expected


@given(scenes())
def test_areas_are_shares_of_the_pixels(scene):
    _, masks, _ = scene
    areas = region_areas(torch.from_numpy(masks))
    np.testing.assert_allclose(areas.numpy(), masks.mean((0, 2, 3)), atol=1e-5)
    assert float(areas.sum()) == pytest.approx(1, abs=1e-4)


@settings(max_examples=6, deadline=None)
@given(st.integers(2, 3), st.sampled_from(["batch", "instance"]), st.sampled_from([None, 0, 1]), st.integers(0, 99))
def test_a_step_descends_the_papers_or_the_official_objective(regions, norm, region, seed):
    """The losses of the model, put together here from the networks alone."""
    torch.manual_seed(seed)
    options = ReDOOptions(**TINY, regions=regions, norm=norm, smallest_region=0.1)
    # In evaluation mode no power iteration continues between the two computations.
    model = ReDOModel(options).eval()
    images, real = (torch.rand(2, 3, 16, 16) * 2 - 1 for _ in range(2))
    noise = model.noise(2, torch.Generator().manual_seed(seed))
    masks = model.mask(images)
    redrawn, everywhere = [], torch.zeros_like(images)
    for each in range(regions):
        colors = model.generators[each](masks[:, each : each + 1], noise[:, each])
        redrawn.append(masks[:, each : each + 1] * colors + (1 - masks[:, each : each + 1]) * images)
        everywhere = everywhere + masks[:, each : each + 1] * colors
    if region is None:
        scores = torch.stack([model.discriminator(each) for each in redrawn])
        distance = (model.encoder(everywhere) - noise).square().sum((1, 2))
    else:
        scores = model.discriminator(redrawn[region])
        distance = (model.encoder(redrawn[region])[:, region] - noise[:, region]).square().sum(1)
    losses = model.generator_losses(images, noise, region)
    torch.testing.assert_close(losses["generator"], -scores.mean())
    torch.testing.assert_close(losses["information"], 5 / (regions * 3) * distance.mean())
    judged = (1 - model.discriminator(real)).relu().mean() + (1 + scores).relu().mean()
    torch.testing.assert_close(model.discriminator_loss(images, real, noise, region), judged)


def test_the_mask_network_learns_from_the_generators_update_alone():
    torch.manual_seed(0)
    model = ReDOModel(ReDOOptions(**TINY))
    images, noise = torch.rand(2, 3, 16, 16) * 2 - 1, torch.randn(2, 2, 3)
    model.discriminator_loss(images, images, noise, 0).backward()
    assert all(parameter.grad is None for parameter in model.mask.parameters())
    losses = model.generator_losses(images, noise, 0)
    (losses["generator"] + losses["information"]).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.mask.pyramid[3].parameters())
    assert all(parameter.grad is None for parameter in model.generators[1].parameters())


def test_pixels_become_signed():
    assert to_signed(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).flatten().tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"redraw": "all"}, "redraw must be one or every, got 'all'"),
        ({"start": "warm"}, "start must be random or border-contrast, got 'warm'"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"ema": 1.0}, "ema is a decay from 0 to below 1"),
        ({"size": 100}, "a power of two, got 100; resize or pad"),
        ({"regions": 3, "smallest_region": 0.4}, "a share below 1 / 3"),
    ],
)
def test_impossible_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        ReDOOptions(**options)
