import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.utils.data import DataLoader, Subset, TensorDataset

from tobias_aug import BetweenClassDataset, BetweenClassMix
from tobias_aug.between_class import mix_images, mix_pairs, pixel_share
from tobias_aug.between_class.image_functional import stds


def reference(x1, x2, r, plus):
    """Equations of the paper, for one pair, r in the open interval, in float64."""
    x1, x2 = np.float64(x1), np.float64(x2)
    if not plus:
        return r * x1 + (1 - r) * x2
    p = 1 / (1 + np.std(x1) / np.std(x2) * (1 - r) / r)
    return (p * x1 + (1 - p) * x2) / math.sqrt(p**2 + (1 - p) ** 2)


def test_the_example_computed_by_hand():
    # Stds 2 and 1; r = 1/2 gives p = 1 / (1 + 2) = 1/3, divided by sqrt(1/9 + 4/9) = sqrt(5) / 3.
    images = torch.tensor([[2.0, -2.0], [1.0, -1.0]])[:, None, None]
    mixed = mix_images(images, torch.tensor([1, 0]), torch.tensor([0.5, 0.8]), plus=True).flatten(1)
    first = (2 / 3 + 2 / 3) / (math.sqrt(5) / 3)
    # r = 0.8 of the quiet one: p = 1 / (1 + 1/2 * 0.2/0.8) = 8/9.
    second = (8 / 9 * 1 + 1 / 9 * 2) / (math.sqrt(65) / 9)
    torch.testing.assert_close(mixed, torch.tensor([[first, -first], [second, -second]]))


@given(
    arrays("float32", (4, 2, 3, 5), elements=st.floats(-100, 100, width=32)),
    st.integers(0, 2**31),
    st.booleans(),
)
@settings(max_examples=60)
def test_agrees_with_the_equations(images, seed, plus):
    random = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(images) + torch.randn(4, 2, 3, 5, generator=random)
    ratio, partner = torch.rand(4, generator=random).clamp(1e-3, 1 - 1e-3), torch.tensor([2, 0, 3, 1])
    mixed = mix_images(images, partner, ratio, plus)
    for n in range(4):
        expected = reference(images[n], images[partner[n]], float(ratio[n]), plus)
        np.testing.assert_allclose(mixed[n], expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(mix_pairs(images, images[partner], ratio, plus), mixed)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mean", [0.0, 0.5, 1.1, 30.0, 1e4])
def test_stds_are_exact_whatever_the_mean(mean, layout):
    images = (torch.randn(3, 3, 64, 65) + mean).contiguous(memory_format=layout)
    images[1] = mean
    expected = images.double().flatten(1).std(1, correction=0).float()
    torch.testing.assert_close(stds(images), expected, rtol=1e-5, atol=0)
    assert stds(images)[1] == 0
    torch.testing.assert_close(stds(images.requires_grad_()).detach(), expected, rtol=1e-5, atol=0)


@given(st.floats(0, 1, width=32), st.floats(0, 1e4, width=32), st.floats(0, 1e4, width=32))
def test_the_weight_is_always_one(ratio, own, other):
    p = float(pixel_share(*(torch.tensor([value], dtype=torch.float64) for value in (ratio, own, other))))
    assert 0 <= p <= 1
    if ratio in (0, 1) or own == other or 0 in (own, other):
        assert p == pytest.approx(ratio, abs=1e-12)
    else:
        assert p == pytest.approx(1 / (1 + own / other * (1 - ratio) / ratio), rel=1e-9)


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_ends_and_constant_images_are_exact_and_finite(plus, dtype):
    images = torch.randn(4, 3, 8, 8).to(dtype)
    images[2:] = torch.tensor([0.1, -3.0])[:, None, None, None].to(dtype)
    partner, ratio = torch.tensor([1, 0, 3, 0]), torch.tensor([0.0, 1.0, 0.5, 0.25])
    mixed = mix_images(images, partner, ratio, plus)
    assert torch.equal(mixed[:2], images[[1, 1]])
    assert mixed.isfinite().all()
    # Beside a constant image p is r.
    scale = math.hypot(0.25, 0.75) if plus else 1.0
    torch.testing.assert_close(mixed[3], (0.25 * images[3] + 0.75 * images[0]) / scale, rtol=1e-2, atol=1e-2)


def test_integers_are_rounded_and_rejected_by_bc_plus():
    images = torch.tensor([[0], [255], [7]], dtype=torch.uint8)
    ratio = torch.tensor([0.5, 0.999, 0.25])
    assert mix_images(images, torch.tensor([1, 0, 2]), ratio).flatten().tolist() == [128, 255, 7]
    with pytest.raises(ValueError, match=r"zero-mean images, which torch.uint8 cannot hold; put BetweenClassNormalize"):
        BetweenClassMix(2, plus=True)(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.arange(2))


def test_gradients_are_the_weights():
    images = torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    mix_images(images, torch.tensor([1, 0]), torch.tensor([0.25, 0.5]))[0].sum().backward()
    assert images.grad[:, 0, 0, 0].tolist() == [0.25, 0.75]


def test_partners_are_of_another_class_and_a_last_batch_of_one_is_kept():
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    mix = BetweenClassMix(3)
    for _ in range(20):
        params = mix.make_params([torch.zeros(6, 1, 2, 2), labels])
        assert (labels[params["partner"]] != labels).all()
    image, label = mix(torch.ones(1, 1, 2, 2), torch.tensor([2]))
    assert image.eq(1).all()
    assert label.tolist() == [[0, 0, 1]]
    with pytest.raises(ValueError, match="all 1 images of the batch are of one class"):
        BetweenClassMix(3, same_class="error")(image, torch.tensor([2]))
    with pytest.raises(ValueError, match="pairs images of different classes, so it needs labels"):
        BetweenClassMix(3, labels_getter=None)


def test_ratios_are_uniform():
    mix, batch = BetweenClassMix(2), [torch.zeros(64, 1, 1, 1), torch.arange(64) % 2]
    ratio = torch.cat([mix.make_params(batch)["ratio"] for _ in range(100)])
    counts = torch.histc(ratio, 10, 0, 1)
    # Standard deviation of a tenth of 6400 draws is 24; five of them are allowed.
    assert (counts - 640).abs().max() < 120


class Read(TensorDataset):
    """Counts what is read; knows its classes."""

    def __init__(self, images, labels):
        super().__init__(images, labels)
        self.targets, self.read = labels.tolist(), 0

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


def numbered(count=12, classes=3):
    labels = torch.arange(count) % classes
    return Read(torch.eye(count).view(count, 1, 1, count), labels)


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_dataset_mixes_two_samples_of_different_classes(wrapped):
    data = numbered()
    mixed = BetweenClassDataset(Subset(data, range(12)) if wrapped else data, num_classes=3)
    assert len(mixed) == 12
    for index in range(40):
        image, label = mixed[index % 12]
        shares = image.flatten()
        first, second = shares.topk(2).indices.tolist()
        assert first % 3 != second % 3
        expected = torch.zeros(3)
        expected[first % 3], expected[second % 3] = shares[first], shares[second]
        torch.testing.assert_close(label, expected)
    # Classes are known, so nothing is read but the two.
    assert data.read == 80


def test_the_dataset_ignores_the_index_and_draws_every_pair_equally_often():
    mixed = BetweenClassDataset(numbered(4, 2), num_classes=2, generator=torch.Generator().manual_seed(0))
    seen = torch.zeros(4, 4)
    for _ in range(1600):
        first, second = mixed._pair()[0]
        seen[int(first.argmax()), int(second.argmax())] += 1
    own = torch.arange(4)
    possible = (own[:, None] % 2) != (own[None] % 2)
    assert seen[~possible].sum() == 0
    # 200 of each of the eight pairs, with a std of 13; five of them are allowed.
    assert (seen[possible] - 200).abs().max() < 65


def test_the_dataset_works_without_targets_and_in_workers():
    data = [(torch.full((1, 2, 2), float(n)), n % 2) for n in range(8)]
    mixed = pickle.loads(pickle.dumps(BetweenClassDataset(data, num_classes=2)))
    loader = DataLoader(mixed, 4, num_workers=2, persistent_workers=True)
    batches = [image.flatten().tolist() for _ in range(2) for image, _ in loader]
    assert len({tuple(batch) for batch in batches}) == 4
    with pytest.raises(IndexError, match="index 8 is outside of 8 samples"):
        mixed[8]


OTHER_TARGETS = {
    "names": ["cat", "dog"] * 4,
    "dicts": [{"boxes": []}] * 8,
    "rows": [[0, 1]] * 8,
    "a matrix": torch.zeros(8, 3),
    "floats": [0.5] * 8,
    "too many": [0, 1] * 8,
    "too few": [0],
    "a method": lambda: [0] * 8,
    "nothing": None,
    "ragged": [[0], [0, 1]] * 4,
    "numbers of something else": list(range(8)),
}


@pytest.mark.parametrize("targets", OTHER_TARGETS.values(), ids=OTHER_TARGETS.keys())
@pytest.mark.parametrize("wrapped", [False, True])
def test_targets_of_another_meaning_are_passed_over(targets, wrapped):
    data = numbered(8, 2)
    data.targets = targets
    mixed = BetweenClassDataset(Subset(data, range(8)) if wrapped else data, num_classes=2)
    for _ in range(20):
        image, label = mixed[0]
        first, second = image.flatten().topk(2).indices.tolist()
        assert first % 2 != second % 2
        assert label[first % 2] == image.flatten()[first]


@pytest.mark.parametrize("label", ["cat", torch.zeros(2), None, {"label": 1}])
def test_a_label_that_is_no_number_is_named(label):
    with pytest.raises(
        TypeError, match=r"needs samples \(image, label\) with the class as a number, got .*; give the data"
    ):
        BetweenClassDataset([(torch.zeros(1, 2, 2), label)] * 5, num_classes=2)[0]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (Subset(numbered(), [0, 3, 6]), ValueError, "needs samples of two classes at least, got 3 samples of one"),
        ([(torch.zeros(1, 2, 2), 1)] * 5, ValueError, "1000 pairs were all of one class"),
        ([("a.jpg", 0), ("b.jpg", 1)], TypeError, "needs images as tensors, got str; give the dataset a transform"),
    ],
)
def test_data_that_cannot_be_paired_is_rejected(data, error, message):
    with pytest.raises(error, match=message):
        BetweenClassDataset(data, num_classes=2)[0]
