import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.class_maps import ClassMaps, at_size, index_mask
from tobias_aug.refine import (
    crf_labels,
    crf_probabilities,
    pamr,
    refine,
    refine_class_maps,
    refine_labels,
    refined_index_mask,
)

KEYS = np.array([14, 3])


@pytest.fixture(params=["pamr", "crf"])
def method(request):
    if request.param == "crf":
        pytest.importorskip("pydensecrf.densecrf", reason="needs the extra crf, which compiles C++")
    return request.param


@pytest.fixture(scope="module")
def scene():
    """Two squares of different colors, and maps of their classes that are off by three pixels."""
    image = np.full((32, 48, 3), 40, np.uint8)
    truth = np.zeros((32, 48), np.uint8)
    image[8:20, 6:20], truth[8:20, 6:20] = (200, 60, 60), 15
    image[10:26, 28:42], truth[10:26, 28:42] = (60, 60, 220), 4
    maps = np.stack([truth == 15, truth == 4]).astype(np.float32)
    return (
        image,
        truth,
        ClassMaps(KEYS, 0.2 + 0.4 * np.roll(maps, (3, 3), (1, 2)), {"ground_truth_labels": True, "stage": "cam"}),
    )


def test_refined_maps_follow_the_image(scene, method):
    image, truth, maps = scene
    refined = refine_class_maps(maps, image, method)
    assert (index_mask(maps, 0.4) == truth).mean() < 0.92
    assert (index_mask(refined, 0.4) == truth).mean() > 0.98
    assert refined.keys.tolist() == [14, 3]
    assert refined.metadata["stage"] == method
    assert refined.metadata["ground_truth_labels"] is True
    assert refined.metadata["source"] == maps.metadata


def test_pamr_of_class_maps_is_pamr_of_each(scene):
    image, _, maps = scene
    expected = pamr(torch.from_numpy(maps.maps), torch.from_numpy(image).permute(2, 0, 1)).numpy()
    np.testing.assert_allclose(refine_class_maps(maps, image).maps, expected, atol=1e-6)


def test_the_crfs_background_is_a_power(scene):
    pytest.importorskip("pydensecrf.densecrf", reason="needs the extra crf, which compiles C++")
    image, _, maps = scene
    planes = maps.maps * 0.8
    scores = np.stack([(1 - planes.max(0).astype(float)) ** 2.5, *planes])
    expected = crf_probabilities(scores / scores.sum(0), image)[1:]
    refined = refine_class_maps(ClassMaps(KEYS, planes), image, "crf", alpha=2.5)
    np.testing.assert_allclose(refined.maps, expected, atol=1e-4)
    assert refined.metadata["alpha"] == 2.5


def irns_labels(maps, image, low, high, method):
    """IRN's steps: a plane of the threshold in front, argmax, refinement among the image's classes, both combined."""
    order = np.argsort(maps.keys)
    keys = np.concatenate([[0], maps.keys[order] + 1])

    def labels(threshold):
        background = np.full((1, *maps.size), threshold, np.float32)
        chosen = np.concatenate([background, maps.maps[order]]).argmax(0)
        if method == "crf":
            return keys[crf_labels(chosen, image, len(keys))]
        masks = torch.from_numpy((chosen == np.arange(len(keys))[:, None, None]).astype(np.float32))
        return keys[pamr(masks, torch.from_numpy(image).permute(2, 0, 1)).argmax(0).numpy()]

    sure, perhaps = labels(high), labels(low)
    confident = sure.copy()
    confident[sure == 0] = 255
    confident[sure + perhaps == 0] = 0
    return confident


def test_the_mask_is_irns(scene, method):
    """Sure of the squares' upper halves, less of the lower ones, which have another color."""
    image, truth, _ = scene
    image, lower = image.copy(), (np.arange(32) >= 16)[:, None] & (truth > 0)
    image[lower] //= 2
    unsure = np.where(lower, 0.5, 0.9).astype(np.float32)
    maps = ClassMaps(KEYS, np.roll((truth == KEYS[:, None, None] + 1) * unsure, (2, 2), (1, 2)))
    expected = irns_labels(maps, image, 0.3, 0.7, method)
    made = refined_index_mask(maps, image, 0.3, 0.7, method)
    assert made.dtype == np.uint8
    assert np.array_equal(made, expected)
    assert {0, 4, 15, 255} == set(np.unique(made))


@settings(max_examples=25)
@given(arrays(np.float32, (2, 4, 5), elements=st.floats(0, 1, width=32)))
def test_without_refinement_the_rule_is_index_masks(planes):
    maps, image = ClassMaps(KEYS, planes), np.zeros((4, 5, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refine, "refine_labels", lambda labels, *_, **__: labels)
        assert np.array_equal(refined_index_mask(maps, image, 0.25, 0.75), index_mask(maps, 0.25, 0.75))


def test_labels_keep_their_type_and_a_single_one_stays(scene, method):
    image, truth, _ = scene
    labels = np.searchsorted([0, 4, 15], truth).astype(np.int32)
    assert refine_labels(labels, image, 3, method).dtype == np.int32
    assert not refine_labels(np.zeros_like(labels), image, 1, method).any()


def test_maps_of_another_size_are_brought_to_the_image(scene, method):
    image, _, maps = scene
    small = at_size(maps, (8, 12))
    assert refine_class_maps(small, image, method).size == (32, 48)
    assert refined_index_mask(small, image, method=method).shape == (32, 48)


def test_an_image_without_a_class_is_background(scene, method):
    image, _, _ = scene
    empty = ClassMaps(np.empty(0, np.int64), np.empty((0, 4, 6), np.float32))
    assert refine_class_maps(empty, image, method).maps.shape == (0, 32, 48)
    assert not refined_index_mask(empty, image, method=method).any()


def test_what_does_not_fit_is_rejected(scene):
    image, _, maps = scene
    with pytest.raises(ValueError, match="unknown refinement 'srm'; choose one of pamr, crf"):
        refine_class_maps(maps, image, "srm")
    with pytest.raises(ValueError, match="alpha must be positive, got 0.0"):
        refine_class_maps(maps, image, "crf", alpha=0.0)
    with pytest.raises(ValueError, match=r"the CRF takes maps in \[0, 1\], got \[0.4, 1.2\]; divide each"):
        refine_class_maps(ClassMaps(KEYS, maps.maps * 2), image, "crf")
    with pytest.raises(ValueError, match="thresholds must be 0 <= low <= high <= 1, got low 0.5 and high 0.2"):
        refined_index_mask(maps, image, 0.5, 0.2)
