import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.refine import pamr


def reference(maps, image, dilations, iterations):
    """Pixel by pixel, in double precision, from the formula."""
    maps, image = maps.double().numpy().copy(), image.double().numpy()
    _, rows, columns = maps.shape
    weights, positions = {}, {}
    for y, x in np.ndindex(rows, columns):
        around = [
            (min(max(y + d * dy, 0), rows - 1), min(max(x + d * dx, 0), columns - 1), (dy, dx) != (0, 0))
            for d in dilations
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ]
        window = np.array([image[:, row, column] for row, column, _ in around])
        std = window.std(axis=0, ddof=1)
        positions[y, x] = [(row, column) for row, column, other in around if other]
        unlike = [np.abs(image[:, y, x] - image[:, row, column]) for row, column in positions[y, x]]
        scores = np.exp(-(np.array(unlike) / (1e-8 + 0.1 * std)).mean(axis=1))
        weights[y, x] = scores / scores.sum()
    for _ in range(iterations):
        before = maps.copy()
        for y, x in np.ndindex(rows, columns):
            maps[:, y, x] = sum(
                weight * before[:, row, column]
                for weight, (row, column) in zip(weights[y, x], positions[y, x], strict=True)
            )
    return maps


@pytest.mark.parametrize("dilations", [(1,), (1, 2), (1, 3, 24)])
def test_it_is_the_formula(dilations):
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 7, 9, generator=generator)
    image = torch.randint(256, (3, 7, 9), generator=generator).to(torch.uint8)
    expected = reference(maps, image, dilations, 3)
    exact = pamr(maps.double(), image, dilations=dilations, iterations=3)
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-12)
    single = pamr(maps, image, dilations=dilations, iterations=3)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=2e-5)


images = arrays(np.uint8, st.tuples(st.just(3), st.integers(1, 6), st.integers(1, 6)))


@given(images, st.data())
def test_values_stay_in_the_range_of_the_neighbors(image, data):
    plane = torch.from_numpy(data.draw(arrays(np.float64, image.shape[1:], elements=st.floats(0, 1))))
    refined = pamr(plane[None], torch.from_numpy(image), dilations=(1, 2), iterations=1)[0]
    padded = F.pad(plane[None], (2, 2, 2, 2), mode="replicate")[0]
    for (y, x), value in np.ndenumerate(refined.numpy()):
        around = padded[y : y + 5, x : x + 5]
        assert around.min() - 1e-12 <= value <= around.max() + 1e-12


@given(images, st.floats(-10, 10))
def test_constant_maps_stay(image, value):
    maps = torch.full((2, *image.shape[1:]), value, dtype=torch.float64)
    refined = pamr(maps, torch.from_numpy(image), iterations=2)
    torch.testing.assert_close(refined, maps, rtol=1e-12, atol=1e-300)


def test_probabilities_stay_probabilities():
    maps = torch.rand(4, 12, 17).softmax(0)
    refined = pamr(maps, torch.rand(3, 12, 17))
    torch.testing.assert_close(refined.sum(0), torch.ones(12, 17))


def test_a_image_of_one_color_averages():
    maps = torch.rand(1, 9, 9, dtype=torch.float64)
    refined = pamr(maps, torch.full((3, 9, 9), 0.3), dilations=(1,), iterations=1)
    around = maps[0, 3:6, 3:6].sum() - maps[0, 4, 4]
    torch.testing.assert_close(refined[0, 4, 4], around / 8)


def test_an_edge_in_the_image_becomes_the_edge_of_the_map():
    image = torch.zeros(3, 16, 32, dtype=torch.uint8)
    image[:, :, 16:] = 255
    off_by_four = torch.zeros(1, 16, 32)
    off_by_four[:, :, 20:] = 1
    refined = pamr(off_by_four, image)
    assert ((refined > 0.5) == (torch.arange(32) >= 16)).all()


def test_the_scale_of_the_colors_does_not_matter():
    maps, image = torch.rand(2, 10, 11), torch.randint(256, (3, 10, 11), dtype=torch.uint8)
    scaled = pamr(maps, image.float() / 255 * 4 - 2)
    torch.testing.assert_close(pamr(maps, image), scaled, rtol=1e-4, atol=1e-5)


def test_a_batch_is_its_images_one_by_one():
    maps, batch = torch.rand(2, 3, 4, 10, 12), torch.rand(2, 3, 3, 10, 12)
    whole = pamr(maps, batch, iterations=2)
    for index in np.ndindex(2, 3):
        torch.testing.assert_close(whole[index], pamr(maps[index], batch[index], iterations=2))


def test_a_image_of_another_size_is_brought_to_the_maps():
    maps, image = torch.rand(2, 10, 12), torch.rand(3, 40, 45)
    small = F.interpolate(image[None], (10, 12), mode="bilinear", align_corners=True)[0]
    assert torch.equal(pamr(maps, image), pamr(maps, small))


def test_nothing_is_differentiated_and_no_input_changed():
    maps = torch.rand(1, 5, 5, requires_grad=True)
    before = maps.detach().clone()
    assert not pamr(maps, torch.rand(3, 5, 5)).requires_grad
    assert torch.equal(maps, before)
    assert torch.equal(pamr(maps, torch.rand(3, 5, 5), iterations=0), before)


def test_half_precision_maps_keep_their_type():
    maps, image = torch.rand(2, 8, 8), torch.rand(3, 8, 8)
    refined = pamr(maps.half(), image)
    assert refined.dtype == torch.float16
    torch.testing.assert_close(refined, pamr(maps.half().float(), image).half())


def test_what_does_not_fit_is_rejected():
    with pytest.raises(ValueError, match=r"same leading dimensions, got \(2, 1, 5, 5\) and \(3, 3, 5, 5\)"):
        pamr(torch.rand(2, 1, 5, 5), torch.rand(3, 3, 5, 5))
    with pytest.raises(ValueError, match=r"at least one pixel, got \(0, 1\)"):
        pamr(torch.rand(1, 5, 5), torch.rand(3, 5, 5), dilations=(0, 1))
    with pytest.raises(ValueError, match=r"at least one pixel, got \(\)"):
        pamr(torch.rand(1, 5, 5), torch.rand(3, 5, 5), dilations=())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees():
    maps, image = torch.rand(2, 3, 40, 50), torch.rand(2, 3, 40, 50)
    torch.testing.assert_close(pamr(maps.cuda(), image.cuda()).cpu(), pamr(maps, image), rtol=1e-4, atol=1e-5)
