import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from tobias_aug import BorderContrast, CenterPrior, half_mask
from tobias_aug.localization.border_contrast import otsu_threshold
from tobias_aug.localization.color import rgb_to_lab
from tobias_aug.localization.filters import gaussian_blur, sobel

FIXED = [[0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]]
BOTH = ["color-texture", "random-convolution"]


def spot(x, y, size=50, noise=8):
    """A textured red patch on a dull ground."""
    random = np.random.default_rng(0)
    image = np.full((224, 224, 3), 120.0) + random.normal(0, noise, (224, 224, 3))
    image[y : y + size, x : x + size] = random.normal((200, 40, 30), 40, (size, size, 3))
    return torch.from_numpy(image.clip(0, 255).astype(np.uint8)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("features", BOTH)
@pytest.mark.parametrize("color", [0, 37, 255])
def test_a_constant_image_gives_the_fixed_pattern(features, color):
    images = torch.full((2, 3, 100, 60), color, dtype=torch.uint8)
    scores = BorderContrast(features).cell_scores(images)
    assert half_mask(scores).int().tolist() == [FIXED] * 2
    assert scores.isfinite().all()


@pytest.mark.parametrize("features", BOTH)
@pytest.mark.parametrize(("x", "y"), [(60, 70), (120, 90), (90, 130)])
def test_looks_at_the_image(features, x, y):
    """The heat is on the object, and the object in the cells, wherever it is."""
    heatmap = BorderContrast(features).contrast(spot(x, y))[0]
    inside = torch.zeros(28, 28, dtype=torch.bool)
    inside[y // 8 + 1 : (y + 50) // 8 - 1, x // 8 + 1 : (x + 50) // 8 - 1] = True
    assert heatmap[inside].mean() > 3 * heatmap[~inside].mean()
    xmin, ymin, xmax, ymax = BorderContrast(features).boxes(spot(x, y))[0].tolist()
    assert abs((xmin + xmax) / 2 - (0.75 * (x + 25) + 0.25 * 112)) < 8
    assert abs((ymin + ymax) / 2 - (0.75 * (y + 25) + 0.25 * 112)) < 8


def test_contrast_is_the_recipe_step_by_step():
    """Recipe A of the method's description, written with SciPy and loops."""
    image = spot(80, 60).repeat(1, 1, 1, 1)
    lab = rgb_to_lab(image.double().float() / 255)[0].double().numpy()
    light = lab[0]

    def gauss(values, sigma):
        return ndimage.gaussian_filter(values, sigma, mode="mirror", truncate=4)

    smooth = gauss(light, 1)
    slopes = [gauss(np.sqrt(np.abs(ndimage.sobel(smooth, axis, mode="mirror"))), 4) for axis in (1, 0)]
    std = np.sqrt(np.maximum(gauss(light**2, 4) - gauss(light, 4) ** 2, 0))
    columns = np.stack([p.reshape(28, 8, 28, 8).mean((1, 3)).ravel() for p in (*lab, *slopes, std)], 1)
    columns = (columns - columns.mean(0)) / columns.std(0)
    rows, cols = np.mgrid[:28, :28]
    cells = np.column_stack([columns, rows.ravel() / 28, cols.ravel() / 28])
    border = ((rows % 27 == 0) | (cols % 27 == 0)).ravel()
    distances = np.sqrt(((cells[:, None] - cells[border][None]) ** 2).sum(2))
    score = np.sort(distances, 1)[:, :5].mean(1)
    score = (score - score.min()) / (score.max() - score.min())
    contrast = BorderContrast().contrast(image)[0].numpy()
    assert border.sum() == 108
    np.testing.assert_allclose(contrast, score.reshape(28, 28), atol=5e-3)
    u = (np.arange(28) + 0.5) / 14 - 1
    weight = np.exp(-((u[:, None] - 0.1) ** 2 + u[None] ** 2) / (2 * 0.6**2))
    expected = (score.reshape(28, 28) * weight).reshape(4, 7, 4, 7).mean((1, 3))
    np.testing.assert_allclose(BorderContrast().cell_scores(image)[0].numpy(), expected, atol=5e-3)


@pytest.mark.parametrize("features", BOTH)
def test_a_score_does_not_depend_on_its_batch(features):
    images = torch.cat([spot(60, 70), spot(120, 90), spot(90, 130)])
    localizer = BorderContrast(features)
    alone = torch.cat([localizer.cell_scores(image[None]) for image in images])
    torch.testing.assert_close(localizer.cell_scores(images), alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(localizer.heatmaps(images / 255), localizer.heatmaps(images), rtol=1e-3, atol=1e-3)


def test_boxes_are_in_the_pixels_of_the_images_given():
    large = torch.nn.functional.interpolate(spot(80, 60).float(), (448, 112)).byte()
    small, scaled = BorderContrast().boxes(spot(80, 60))[0], BorderContrast().boxes(large)[0]
    torch.testing.assert_close(scaled, small * torch.tensor([0.5, 2, 0.5, 2]), rtol=0.1, atol=5.0)


def test_unknown_features_and_nan_are_rejected():
    with pytest.raises(ValueError, match="unknown features 'sift'; choose color-texture or random-convolution"):
        BorderContrast("sift")
    with pytest.raises(ValueError, match="the images hold NaN"):
        BorderContrast().heatmaps(torch.full((1, 3, 224, 224), torch.nan))


def test_the_seed_decides_the_random_convolution():
    first, again, other = (BorderContrast("random-convolution", seed).contrast(spot(80, 60)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_filters_are_scipys():
    values = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    tensor = torch.from_numpy(values)[None, None]
    for sigma in (1.0, 4.0):
        expected = ndimage.gaussian_filter(values, sigma, mode="mirror", truncate=4)
        np.testing.assert_allclose(gaussian_blur(tensor, sigma)[0, 0].numpy(), expected, atol=1e-5)
    for found, axis in zip(sobel(tensor), (1, 0), strict=True):
        np.testing.assert_allclose(found[0, 0].numpy(), ndimage.sobel(values, axis, mode="mirror"), atol=1e-5)


def test_lab_is_scikit_images():
    color = pytest.importorskip("skimage.color", reason="needs the extra demo")
    pixels = np.random.default_rng(0).random((50, 40, 3)).astype(np.float32)
    pixels[0] = 0
    expected = color.rgb2lab(pixels)
    found = rgb_to_lab(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=0.02)


@given(arrays("float64", st.integers(2, 60), elements=st.integers(0, 5000).map(lambda n: n / 5000)))
def test_otsu_splits_the_histogram_with_the_largest_variance_between(values):
    threshold = otsu_threshold(torch.from_numpy(values))
    if values.min() == values.max():
        assert threshold == values[0]
        return
    counts, edges = np.histogram(values, 256)
    centers = (edges[:-1] + edges[1:]) / 2

    def between(cut):
        low, high = counts[: cut + 1], counts[cut + 1 :]
        if not low.sum() or not high.sum():
            return 0.0
        gap = np.average(centers[: cut + 1], weights=low) - np.average(centers[cut + 1 :], weights=high)
        return low.sum() * high.sum() * gap**2

    best = max(between(cut) for cut in range(255))
    chosen = int(np.argmin(np.abs(centers - threshold)))
    assert between(chosen) == pytest.approx(best, rel=1e-9)


def test_the_center_prior_is_the_same_for_every_image():
    prior = CenterPrior()
    images = torch.randint(256, (3, 3, 40, 100), dtype=torch.uint8)
    assert half_mask(prior.cell_scores(images)).int().tolist() == [FIXED] * 3
    assert prior.boxes(images).tolist() == [[15.0, 5.0, 85.0, 35.0]] * 3
    assert prior.heatmaps(images).shape == (3, 28, 28)
    assert repr(CenterPrior((0.5, 1.0))) == "CenterPrior(box=(0.5, 1.0))"
    with pytest.raises(ValueError, match=r"a share of the image's width and height in \(0, 1\], got \(0.0, 1.0\)"):
        CenterPrior((0.0, 1.0))


@pytest.mark.parametrize("localizer", [BorderContrast(), CenterPrior()], ids=repr)
def test_build_masks_takes_any_localizer(photos, tmp_path, localizer):
    from tobias_aug import build_masks

    table = build_masks(photos, localizer, tmp_path / "out", workers=0, quiet=True)
    assert len(table) == 12
    assert table.description.localizer == localizer.identity()


def test_a_lower_threshold_draws_larger_boxes_and_the_same_cells():
    images = torch.cat([spot(80, 60), spot(120, 150)])
    plain, large = BorderContrast(), BorderContrast(threshold=0.5)
    for small_box, large_box in zip(plain.boxes(images), large.boxes(images), strict=True):
        assert (large_box[:2] <= small_box[:2]).all()
        assert (large_box[2:] >= small_box[2:]).all()
    assert torch.equal(plain.cell_scores(images), large.cell_scores(images))
    with pytest.raises(ValueError, match="threshold is a positive share of Otsu's threshold, got 0"):
        BorderContrast(threshold=0.0)
