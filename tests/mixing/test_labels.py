import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import one_hot
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug.mixing import check_labels, draw_other_class_partners, draw_partners, find_labels, soft_labels


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 2**31))
def test_soft_labels_are_the_mean_of_two_one_hot_rows(labels, seed):
    random = torch.Generator().manual_seed(seed)
    labels = torch.tensor(labels)
    ratio, partner = torch.rand(len(labels), generator=random), draw_partners(len(labels), random)
    hard = one_hot(labels, 5).float()
    expected = ratio[:, None] * hard + (1 - ratio[:, None]) * hard[partner]
    torch.testing.assert_close(soft_labels(labels, partner, ratio, 5), expected)
    torch.testing.assert_close(soft_labels(hard, partner, ratio), expected)
    torch.testing.assert_close(soft_labels(hard.long(), partner, ratio, 5), expected)


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(0, 2**31))
def test_a_partner_is_of_another_class_wherever_there_is_one(labels, seed):
    labels = torch.tensor(labels, dtype=torch.long)
    partner = draw_other_class_partners(labels, torch.Generator().manual_seed(seed))
    if len(labels.unique()) > 1:
        assert (labels[partner] != labels).all()
    else:
        assert partner.tolist() == list(range(len(labels)))


def test_every_image_of_another_class_is_drawn_equally_often():
    labels = torch.tensor([2, 0, 2, 5, 0, 2])
    random = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw_other_class_partners(labels, random) for _ in range(6000)])
    for n, own in enumerate(labels):
        others = (labels != own).nonzero()[:, 0]
        share = torch.stack([(drawn[:, n] == other).float().mean() for other in others])
        # Standard error of a share of 6000 draws is at most .0065; five of them are allowed.
        assert (share - 1 / len(others)).abs().max() < 0.033


def test_distributions_are_paired_by_their_largest_entry():
    labels = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    assert draw_other_class_partners(labels).tolist()[:2] == [2, 2]


def test_a_batch_of_one_class_is_kept_or_rejected():
    labels = torch.tensor([3, 3, 3])
    assert draw_other_class_partners(labels).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"all 3 images .* one class.* shuffle the data .* same_class=\"keep\""):
        draw_other_class_partners(labels, same_class="error")
    with pytest.raises(ValueError, match=r'same_class must be "keep" or "error", got "?\'?drop'):
        draw_other_class_partners(labels, same_class="drop")


LABELS = torch.arange(4)
IMAGES = torch.zeros(4, 3, 8, 8)


@pytest.mark.parametrize(
    "sample",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS, "name"],
        {"image": IMAGES, "label": LABELS},
        {"image": IMAGES, "class_labels": IMAGES, "Labels": LABELS},
        (tv_tensors.Image(IMAGES), {"target_label": LABELS, "id": 3}),
    ],
)
def test_labels_are_found_where_torchvision_finds_them(sample):
    assert find_labels(sample) is LABELS
    v2.CutMix(num_classes=4)(sample)  # It raises where it finds none.


@pytest.mark.parametrize("sample", [IMAGES, [IMAGES], (IMAGES, "cat"), {"image": IMAGES}, (IMAGES, [LABELS])])
def test_a_sample_without_labels_is_told_what_to_do(sample):
    with pytest.raises(ValueError, match=r"found no labels .* labels_getter=None if there are none by design"):
        find_labels(sample)
    assert find_labels(sample, required=False) is None


@pytest.mark.parametrize(
    ("labels", "num_classes", "message"),
    [
        (torch.arange(3), 4, "expected a label for each of 4 images, got 3"),
        (LABELS, None, "num_classes must be given"),
        (LABELS, 3, r"class indices must lie in 0 \.\. 2, got 0 to 3"),
        (LABELS - 1, 4, r"class indices must lie in 0 \.\. 3, got -1 to 2"),
        (LABELS.float(), 4, r"got torch.float32 of shape \(4,\)"),
        (torch.zeros(4, 8, 8), 4, "wrap segmentation masks in tv_tensors.Mask"),
        (torch.zeros(4, 5), 4, r"labels of shape \(4, 5\) do not fit num_classes=4"),
    ],
)
def test_labels_that_do_not_fit_are_rejected(labels, num_classes, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels, 4, num_classes)
