import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug import CutMix, Mixup, RandomMerge
from tobias_aug.mixing.baselines import drawing_from

PAIRS = [(Mixup, v2.MixUp), (CutMix, v2.CutMix)]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_is_torchvisions_draw_for_draw(ours, theirs):
    images, labels = torch.rand(8, 3, 16, 20), torch.arange(8) % 3
    torch.manual_seed(0)
    expected = theirs(num_classes=3, alpha=0.4)(images, labels)
    torch.manual_seed(0)
    found = ours(3, alpha=0.4)(images, labels)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_videos_are_mixed_as_torchvision_mixes_them(ours, theirs):
    video, labels = tv_tensors.Video(torch.rand(4, 2, 3, 8, 8)), torch.arange(4)
    torch.manual_seed(0)
    expected = theirs(num_classes=4)(video, labels)[0]
    torch.manual_seed(0)
    found = ours(4)(video, labels)[0]
    assert type(found) is tv_tensors.Video
    assert torch.equal(found, expected)


def test_cutmix_rejects_masks_of_another_size():
    masks = tv_tensors.Mask(torch.zeros(2, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"rectangle in images of \(8, 8\), got \(4, 4\); resize masks"):
        CutMix(labels_getter=None)(torch.rand(2, 3, 8, 8), masks)


@pytest.mark.parametrize("mix", [Mixup, CutMix])
def test_alpha_is_positive(mix):
    with pytest.raises(ValueError, match="alpha of the Beta distribution must be positive, got 0.0"):
        mix(3, alpha=0.0)


def test_a_generator_takes_the_place_of_torchs_own():
    before = torch.get_rng_state()
    generator = torch.Generator().manual_seed(1)
    drawn = []
    for _ in range(2):
        with drawing_from(generator):
            drawn.append(torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(*drawn)


def test_random_merge_keeps_hard_labels_unless_told_the_classes():
    images, labels = torch.rand(6, 3, 8, 8), torch.arange(6)
    assert RandomMerge(p=1.0)(images, labels)[1] is labels
    soft = RandomMerge(p=1.0, num_classes=6)(images, labels)[1]
    assert (soft[range(6), range(6)] >= 0.5).all()
    assert soft.shape == (6, 6)
