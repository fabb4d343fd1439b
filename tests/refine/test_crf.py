import sys

import numpy as np
import pytest

from tobias_aug.refine import FOR_LABELS, FOR_PROBABILITIES, Pairwise, crf_labels, crf_probabilities


@pytest.fixture(scope="module")
def scene():
    """A bright, noisy disc on a dark, noisy ground, and where a poor classifier sees it: too low, too far right."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:30, :40]
    disc = (rows - 14) ** 2 + (columns - 18) ** 2 < 100
    image = np.where(disc[..., None], (180, 140, 90), (60, 90, 120)) + random.normal(0, 12, (30, 40, 3))
    seen = (rows - 17) ** 2 + (columns - 22) ** 2 < 100
    return image.clip(0, 255).astype(np.uint8), disc, seen


def exact_mean_field(energies, image, pairwise, iterations):
    """Fully connected mean field with every pair of pixels, kernels normalized symmetrically, Potts model."""
    labels, height, width = energies.shape
    positions = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2).astype(float)
    colors = image.reshape(-1, 3).astype(float)

    def kernel(features):
        alike = np.exp(-((features[:, None] - features[None]) ** 2).sum(-1) / 2)
        rows = alike.sum(1)
        return alike / np.sqrt(rows[:, None] * rows[None])

    far = np.concatenate([positions / pairwise.far_pixels, colors / pairwise.far_colors], axis=1)
    message = pairwise.near_strength * kernel(positions / pairwise.near_pixels) + pairwise.far_strength * kernel(far)
    unary = energies.reshape(labels, -1).astype(float)
    beliefs = np.exp(-unary) / np.exp(-unary).sum(0)
    for _ in range(iterations):
        beliefs = np.exp(-unary + beliefs @ message)
        beliefs /= beliefs.sum(0)
    return beliefs.reshape(labels, height, width)


class TestWithPydensecrf:
    @pytest.fixture(autouse=True)
    def _there(self):
        pytest.importorskip("pydensecrf.densecrf", reason="needs the extra crf, which compiles C++")

    @pytest.mark.parametrize("pairwise", [FOR_LABELS, FOR_PROBABILITIES], ids=["labels", "probabilities"])
    @pytest.mark.parametrize("iterations", [1, 10])
    def test_it_is_close_to_exact_mean_field(self, scene, pairwise, iterations):
        """The lattice interpolates between its points, so that messages are off by some percent. On 1,200 pixels of
        photographs that is at most 0.016 in a mean probability and 2% of the labels after ten rounds, which push
        nearly equal beliefs to the ends; exact mean field itself changes 2% to 18% of the labels."""
        image, _, seen = scene
        seen_probability = np.where(seen, 0.7, 0.3)
        probabilities = np.stack([1 - seen_probability, seen_probability])
        refined = crf_probabilities(probabilities, image, pairwise=pairwise, iterations=iterations)
        expected = exact_mean_field(-np.log(probabilities), image, pairwise, iterations)
        assert np.abs(refined - expected).mean() < 0.016
        assert (refined.argmax(0) != expected.argmax(0)).mean() < 0.02
        assert (expected.argmax(0) != seen).mean() > 0.05

    def test_labels_move_to_where_the_colors_change(self, scene):
        image, disc, seen = scene
        refined = crf_labels(seen.astype(np.uint8), image, 2)
        assert refined.dtype == np.uint8
        assert (seen == disc).mean() < 0.9
        assert (refined == disc).mean() > 0.97

    def test_labels_are_probabilities_of_seven_tenths(self, scene):
        image, _, seen = scene
        other = np.full(seen.shape, 0.15)
        probabilities = np.stack([np.where(seen, 0.15, 0.7), np.where(seen, 0.7, 0.15), other])
        expected = crf_probabilities(probabilities, image, pairwise=FOR_LABELS).argmax(0)
        assert np.array_equal(crf_labels(seen.astype(np.int64), image, 3), expected)

    def test_probabilities_stay_probabilities(self, scene):
        image, _, _ = scene
        random = np.random.default_rng(1).dirichlet(np.ones(4), image.shape[:2]).transpose(2, 0, 1)
        refined = crf_probabilities(random, image)
        np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)
        assert refined.min() >= 0

    def test_height_and_width_are_not_mistaken_for_each_other(self, scene):
        """What is refined lying down is refined standing up."""
        image, _, seen = scene
        turned = crf_labels(np.ascontiguousarray(seen.T).astype(np.int64), image.transpose(1, 0, 2), 2).T
        assert (turned == crf_labels(seen.astype(np.int64), image, 2)).mean() > 0.99

    def test_a_smaller_scale_reaches_less_far(self, scene):
        image, _, seen = scene
        probabilities = np.stack([np.where(seen, 0.3, 0.7), np.where(seen, 0.7, 0.3)])
        reduced = Pairwise(near_pixels=1.5, far_pixels=40, far_colors=13)
        assert np.array_equal(
            crf_probabilities(probabilities, image, scale=2), crf_probabilities(probabilities, image, pairwise=reduced)
        )


def test_sizes_that_differ_are_rejected(scene):
    image, _, seen = scene
    with pytest.raises(ValueError, match="the image is 30 x 40, but what is refined is 40 x 30; resize one"):
        crf_labels(seen.T.astype(np.int64), image, 2)


def test_a_single_label_needs_no_refinement(scene):
    image, _, _ = scene
    assert not crf_labels(np.zeros((30, 40), np.uint8), image, 1).any()


def test_what_does_not_fit_is_rejected(scene):
    image, _, seen = scene
    with pytest.raises(ValueError, match="labels must be 0 to 1, got 0 to 2"):
        crf_labels(2 * seen.astype(np.int64), image, 2)
    with pytest.raises(ValueError, match="certainty must lie between 0 and 1, got 1.0"):
        crf_labels(seen.astype(np.int64), image, 2, certainty=1.0)
    with pytest.raises(ValueError, match=r"got sums of 0 to 1; is the background among them\?"):
        crf_probabilities(seen[None].astype(np.float32), image)


def test_without_the_extra_the_error_says_what_to_do(scene, monkeypatch):
    image, _, seen = scene
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(ImportError, match=r"with a C\+\+ compiler.*PAMR needs neither.*pip install '.\[crf\]'"):
        crf_labels(seen.astype(np.int64), image, 2)
