import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug import probabilistic_and, probabilistic_or
from tobias_aug.orand import ORANDFusion, average

RULES = {
    probabilistic_or: lambda a, b: a + b - a * b,
    probabilistic_and: lambda a, b: a * b,
    average: lambda a, b: (a + b) / 2,
}
shapes = st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4))
both_rules = pytest.mark.parametrize("rule", [probabilistic_or, probabilistic_and])


@st.composite
def pairs(draw, dtype="float32"):
    """Two stacks of maps of one shape, zeros and the smallest numbers of the type among them."""
    shape = draw(shapes)
    unit = st.floats(0, 1, width=32) if dtype == "float32" else st.floats(0, 1)
    return tuple(draw(arrays(dtype, shape, elements=unit)) for _ in range(2))


def reference(rule, first, second):
    """Equation 1, map by map, in NumPy's double precision."""
    fused = np.zeros(first.shape)
    for index in np.ndindex(first.shape[:-2]):
        values = RULES[rule](first[index].astype(float), second[index].astype(float))
        fused[index] = values / values.max() if values.max() > 0 else values
    return fused


@pytest.mark.parametrize("rule", RULES)
@given(pairs())
def test_fusion_is_the_equation_in_double_precision(rule, pair):
    expected = reference(rule, *pair).astype(np.float32)
    fused = rule(*map(torch.from_numpy, pair))
    assert fused.dtype == torch.float32
    np.testing.assert_allclose(fused.numpy(), expected, rtol=1e-7, atol=0)
    assert np.array_equal(rule(*pair), fused.numpy())


@both_rules
@given(pairs())
def test_symmetry_range_and_a_maximum_of_one(rule, pair):
    fused = rule(*pair)
    assert np.array_equal(fused, rule(*pair[::-1]))
    assert ((fused >= 0) & (fused <= 1)).all()
    for index in np.ndindex(fused.shape[:-2]):
        empty = not RULES[rule](*(maps[index].astype(float) for maps in pair)).any()
        assert fused[index].max() == (0 if empty else 1)


@given(pairs("float64"))
def test_and_is_below_both_and_or_above_both_before_division(pair):
    below = probabilistic_and(*pair, variant="official", offset=0)
    above = probabilistic_or(*pair, variant="official", offset=0)
    assert (below <= np.minimum(*pair)).all()
    assert (above >= np.maximum(*pair) - np.finfo(float).eps).all()
    # Division by at most one only lifts the OR maps.
    assert (probabilistic_or(*pair) >= np.maximum(*pair) - np.finfo(float).eps).all()


@given(pairs(), st.integers(0, 20), st.integers(0, 20))
def test_and_does_not_depend_on_the_scale_of_either_map(pair, first, second):
    tiny = np.float32(2.0**-60)
    assume(all(maps[maps > 0].min(initial=1) > tiny for maps in pair))
    scaled = (pair[0] * np.float32(2.0**-first), pair[1] * np.float32(2.0**-second))
    assert np.array_equal(probabilistic_and(*scaled), probabilistic_and(*pair))


def test_or_depends_on_the_scale():
    first, second = np.array([[1.0, 0.5]]), np.array([[0.5, 1.0]])
    assert not np.array_equal(probabilistic_or(first, second), probabilistic_or(first / 2, second))


@pytest.mark.parametrize("rule", RULES)
def test_gradients(rule):
    torch.manual_seed(0)
    pair = [torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(rule, pair)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_zeros_stay_zero_with_finite_gradients_in_every_precision(rule, dtype):
    maps = torch.zeros(2, 3, 3, dtype=dtype)
    maps[1, 1, 1] = torch.finfo(dtype).tiny
    first, second = (maps.clone().requires_grad_() for _ in range(2))
    fused = rule(first, second)
    assert fused.dtype == dtype
    assert fused[0].eq(0).all()
    assert fused[1].flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    fused[0].sum().backward()
    assert first.grad.isfinite().all()


@both_rules
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_the_double_result_rounded_once(rule, dtype):
    torch.manual_seed(0)
    pair = [torch.rand(4, 16, 16).to(dtype) for _ in range(2)]
    expected = torch.from_numpy(reference(rule, *(maps.double().numpy() for maps in pair))).to(dtype)
    assert torch.equal(rule(*pair), expected)


@both_rules
@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (0, 3)])
def test_any_leading_dimensions_are_maps_of_their_own(rule, leading):
    torch.manual_seed(0)
    pair = [torch.rand(*leading, 5, 6) for _ in range(2)]
    one_by_one = [rule(a, b) for a, b in zip(*(maps.reshape(-1, 5, 6) for maps in pair), strict=True)]
    expected = torch.stack(one_by_one).reshape(*leading, 5, 6) if one_by_one else torch.empty(*leading, 5, 6)
    assert torch.equal(rule(*pair), expected)


def test_the_official_variant_by_hand():
    first, second = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.25, 1.0]])
    official = {"variant": "official"}
    torch.testing.assert_close(probabilistic_or(first, second, **official), torch.tensor([[0.7, 1.0]]))
    torch.testing.assert_close(probabilistic_and(first, second, **official), torch.tensor([[0.2, 1.15]]))
    torch.testing.assert_close(average(first, second, **official), torch.tensor([[0.9 / 2.15, 1.0]]))
    assert probabilistic_and(first, second, variant="official", offset=0.0).tolist() == [[0.125, 1.0]]


@both_rules
def test_what_does_not_fit_is_rejected(rule):
    maps = torch.rand(2, 4, 4)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 4, 4\) and \(1, 4, 4\); join the classes with"):
        rule(maps, maps[:1])
    with pytest.raises(TypeError, match="floating-point maps in .0, 1., got torch.uint8"):
        rule(maps.byte(), maps.byte())
    with pytest.raises(TypeError, match="floating-point maps in .0, 1., got uint8"):
        rule(maps.byte().numpy(), maps.byte().numpy())
    with pytest.raises(ValueError, match='variant must be "paper" or "official", got \'code\''):
        rule(maps, maps, variant="code")


def test_the_transform_gives_or_and_and():
    first, second = torch.rand(2, 4, 4), torch.rand(2, 4, 4)
    expected = probabilistic_or(first, second), probabilistic_and(first, second)
    for given_maps in [(first, second), ((first, second),)]:
        assert all(map(torch.equal, ORANDFusion()(*given_maps), expected))
    sample = {"image": "untouched", "cnn": tv_tensors.Mask(first), "vit": tv_tensors.Mask(second)}
    fused = v2.Compose([ORANDFusion("cnn", "vit")])(sample)
    assert list(fused) == ["image", "or", "and"]
    assert list(sample) == ["image", "cnn", "vit"]
    assert isinstance(fused["and"], tv_tensors.Mask)
    assert torch.equal(fused["or"], expected[0])
    official = ORANDFusion(variant="official", offset=0.0)
    assert torch.equal(official(first, second)[1], first * second)
    assert repr(official) == "ORANDFusion(first='first', second='second', variant='official', offset=0.0)"


def test_the_transform_says_what_a_sample_lacks():
    with pytest.raises(KeyError, match="the sample has no 'second'; it has first"):
        ORANDFusion()({"first": torch.rand(1, 2, 2)})
    with pytest.raises(TypeError, match="takes two maps or one dictionary, got .'Tensor'"):
        ORANDFusion()(torch.rand(1, 2, 2))
    with pytest.raises(ValueError, match='variant must be "paper" or "official"'):
        ORANDFusion(variant="code")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("rule", RULES)
def test_a_gpu_agrees(rule):
    pair = [torch.rand(3, 16, 16) for _ in range(2)]
    fused = rule(*(maps.cuda() for maps in pair))
    assert fused.is_cuda
    torch.testing.assert_close(fused.cpu(), rule(*pair), rtol=1e-6, atol=0)


def test_map_by_map_and_all_at_once_are_the_same():
    """Without gradients the CPU goes map by map; with them it does not."""
    pair = [torch.rand(3, 16, 16) for _ in range(2)]
    for rule in RULES:
        assert torch.equal(rule(*pair), rule(*(maps.clone().requires_grad_() for maps in pair)))
