"""Fog and color: a change of domain that moves nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.adaptation import fog_and_color

images = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@given(images, st.integers(0, 2**31))
def test_one_seed_gives_one_image_of_the_same_size_and_leaves_its_input_alone(image, seed):
    before = image.copy()
    foggy = fog_and_color(image, seed)
    assert foggy.shape == image.shape
    assert foggy.dtype == np.uint8
    np.testing.assert_array_equal(foggy, fog_and_color(image, seed))
    np.testing.assert_array_equal(image, before)


@given(images, st.integers(0, 2**31))
def test_without_fog_and_recoloring_nothing_changes(image, seed):
    same = fog_and_color(image, seed, density=0, saturation=1, gains=(1, 1, 1))
    np.testing.assert_array_equal(same, image)


def test_the_scattering_model_pixel_by_pixel():
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    foggy = fog_and_color(image, 3, density=1.2, patchiness=0, fog=(10, 20, 30), saturation=0.25, gains=(0.5, 1, 1))
    for row in range(5):
        kept = np.exp(-1.2 * (1 - 0.7 * row / 4))
        for column in range(4):
            red, green, blue = image[row, column].astype(float)
            gray = 0.299 * red + 0.587 * green + 0.114 * blue
            for channel, (value, gain, haze) in enumerate(
                zip((red, green, blue), (0.5, 1, 1), (10, 20, 30), strict=True)
            ):
                colored = min(255, gain * (gray + 0.25 * (value - gray)))
                assert abs(foggy[row, column, channel] - (colored * kept + haze * (1 - kept))) <= 0.51


def test_seeds_differ_in_where_the_fog_is_thick_and_not_in_how_thick_it_is():
    black = np.zeros((120, 160, 3), dtype=np.uint8)
    foggy = np.stack([fog_and_color(black, seed) for seed in range(20)]).astype(float)
    assert np.abs(foggy[0] - foggy[1]).max() > 20
    assert foggy.mean((1, 2, 3)).std() < 0.1 * foggy.mean()
    assert foggy.mean(0)[0].mean() > 1.5 * foggy.mean(0)[-1].mean()  # denser at the top


@pytest.mark.parametrize("wrong", [{"density": -1}, {"saturation": -0.1}, {"patchiness": 1.5}])
def test_what_is_no_fog_is_rejected(wrong):
    with pytest.raises(ValueError, match=r"needs density >= 0, saturation >= 0 and patchiness in \[0, 1\], got"):
        fog_and_color(np.zeros((2, 2, 3), dtype=np.uint8), 0, **wrong)
