import jaxtyping
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.masks.test_regions import flood
from tobias_aug import scda_box
from tobias_aug.localization import SCDA, scda_descriptor

pytestmark = pytest.mark.slow

values = st.floats(-100, 100, width=32)


@given(arrays("float32", st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=values), st.integers(7, 40))
def test_the_box_is_that_of_the_definition(heat, side):
    box = scda_box(torch.from_numpy(heat), (side, 2 * side))
    above = heat > torch.from_numpy(heat).mean().item()
    components = flood(above)
    if not components:
        assert box == (0, 0, 2 * side, side)
        return
    component = max(components, key=len)
    rows, columns = heat.shape
    # Nearest neighbor: pixel y shows row floor(y * rows / side).
    ys = [y for y in range(side) if any(y * rows // side == row for row, _ in component)]
    xs = [x for x in range(2 * side) if any(x * columns // (2 * side) == column for _, column in component)]
    assert box == (min(xs), min(ys), max(xs) + 1, max(ys) + 1)


def test_hand_computed():
    heat = torch.tensor([[0.0, 9, 9, 0], [0, 9, 0, 0], [0, 0, 0, 0], [9, 0, 0, 0]])
    assert scda_box(heat, (224, 224)) == (56, 0, 168, 112)


def test_a_flat_heatmap_gives_the_whole_image():
    assert scda_box(torch.ones(7, 7), (30, 20)) == (0, 0, 20, 30)


DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
DTYPES += [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(arrays("int64", st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 100)))
def test_a_heatmap_may_have_any_real_dtype(dtype, heat):
    heat = torch.from_numpy(heat > 50 if dtype == torch.bool else heat).to(dtype)
    # The numbers are small enough for each dtype, and their mean for this one.
    assert scda_box(heat, (28, 35)) == scda_box(heat.double(), (28, 35))


def test_the_mean_of_half_precision_is_not_rounded():
    # 2049 and 2051 are 2048 and 2052 in this dtype, their mean is none of its numbers.
    heat = torch.tensor([[2048.0, 2050.0, 2050.0]], dtype=torch.float16)
    assert scda_box(heat, (1, 3)) == (1, 0, 3, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "NaN"), (np.inf, "infinite values"), (-np.inf, "infinite values")]
)
def test_what_has_no_mean_is_rejected(dtype, value, what):
    for heat in ([[value, 1.0]], [[1.0, 0.0], [0.0, value]], [[value, np.nan if what == "NaN" else np.inf]]):
        with pytest.raises(ValueError, match=f"SCDA got {what} in the heatmap; look at the image or the network"):
            scda_box(torch.tensor(heat, dtype=dtype), (4, 4))


@pytest.mark.parametrize(
    ("heat", "size", "error", "message"),
    [
        (np.ones((3, 3)), (4, 4), TypeError, "a tensor of real numbers, got ndarray; make one by torch.as_tensor"),
        ([[1.0]], (4, 4), TypeError, "a tensor of real numbers, got list"),
        (torch.ones(2, 2, dtype=torch.complex64), (4, 4), TypeError, "got torch.complex64"),
        (torch.ones(1, 3, 3), (4, 4), ValueError, r"of shape \(rows, columns\), got \(1, 3, 3\)"),
        (torch.ones(0, 3), (4, 4), ValueError, r"got \(0, 3\)"),
        (torch.ones(3, 3), (0, 4), ValueError, r"size\[0\] is a whole number from 1, got 0"),
        (torch.ones(3, 3), (4, 4.5), ValueError, r"size\[1\] is a whole number from 1, got 4.5"),
    ],
)
def test_other_arguments_are_rejected(heat, size, error, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    with pytest.raises(error, match=message):
        scda_box(heat, size)


def test_a_descriptor_pools_the_objects_features_alone():
    """Two channels, a last map of 2 × 2 of which the right column is the object, an earlier one of 4 × 4."""
    last = torch.tensor([[[0.0, 3.0], [0.0, 5.0]], [[0.0, 1.0], [1.0, 1.0]]])
    earlier = torch.zeros(2, 4, 4)
    earlier[0, 0, 3], earlier[1, 2, 2], earlier[0, 1, 0] = 6.0, 8.0, 9.0  # The last one lies outside the object.
    found = scda_descriptor(last, earlier)
    average, maximum = [4.0, 1.0], [5.0, 1.0]
    finer_average, finer_maximum = [3.0, 4.0], [6.0, 8.0]
    expected = []
    for values, weight in ((average, 1), (maximum, 1), (finer_average, 0.5), (finer_maximum, 0.5)):
        length = sum(value**2 for value in values) ** 0.5
        expected += [weight * value / length for value in values]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_a_constant_map_is_pooled_whole():
    found = scda_descriptor(torch.ones(2, 3, 3), torch.ones(2, 6, 6))
    torch.testing.assert_close(found, torch.tensor([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]) / 2**0.5)


@pytest.fixture(scope="module")
def describe():
    return SCDA(seed=1)


def test_a_descriptor_is_the_images_and_its_mirrors(describe):
    images = torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = describe(images)
    assert found.shape == (2, 4096)
    mirrored = describe(images.flip(-1))
    torch.testing.assert_close(mirrored, torch.cat([found[:, 2048:], found[:, :2048]], 1), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(describe(images[1:]), found[1:], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found[:, :512].norm(dim=1), torch.ones(2))


def test_only_large_images_are_shrunk(describe):
    seen = []
    hook = describe.features[0].register_forward_hook(lambda *call: seen.append(tuple(call[2].shape[2:])))
    describe(torch.zeros(1, 3, 1000, 1400, dtype=torch.uint8))
    describe(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    hook.remove()
    assert seen == [(700, 980)] * 2 + [(64, 96)] * 2


def test_the_descriptors_weights_are_a_checkpoints(describe):
    torch.manual_seed(0)
    state = torchvision.models.vgg16().state_dict()
    own = SCDA(state)
    assert torch.equal(own.features[26].weight, state["features.26.weight"])
