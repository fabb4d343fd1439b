import pytest
import torch

from tobias_aug import OnlineMasks, PatchMerge, RandomCNN, half_mask
from tobias_aug.masks.online import filled_up


class Counted:
    """The mean of each cell, and how many images it was asked for."""

    def __init__(self):
        self.asked = []

    def heatmaps(self, images):
        return images.float().mean(1)

    def cell_scores(self, images, grid=4):
        self.asked.append(len(images))
        return torch.nn.functional.adaptive_avg_pool2d(self.heatmaps(images), grid)


def random_images(count, seed=0):
    return torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_masks_are_those_of_the_localizer_and_merge_the_same():
    images, localizer = random_images(16), Counted()
    online = OnlineMasks(localizer)
    cells = half_mask(localizer.cell_scores(images))
    assert torch.equal(online(images), cells)
    localizer.asked.clear()
    first, second = (PatchMerge(0.2, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first(images, online), second(images, cells))
    assert sum(localizer.asked) < 16


def test_a_mask_is_made_once_for_a_key():
    images, localizer = random_images(3000), Counted()
    online, keys = OnlineMasks(localizer), [str(number) for number in range(3000)]
    cells = half_mask(localizer.cell_scores(images))
    localizer.asked.clear()
    for part in torch.arange(3000).split(700):
        assert torch.equal(online(images[part], [keys[n] for n in part]), cells[part])
    mixed = torch.tensor([2999, 0, 0, 1500])
    assert torch.equal(online(torch.zeros_like(images[mixed]), [keys[n] for n in mixed]), cells[mixed])
    assert localizer.asked == [700, 700, 700, 700, 200]
    assert len(online) == 3000


def test_a_key_twice_in_a_batch_is_one():
    localizer = Counted()
    online, images = OnlineMasks(localizer), random_images(1).expand(3, 3, 16, 16)
    assert torch.equal(online(images, ["a", "a", "b"]), half_mask(localizer.cell_scores(images)))
    assert localizer.asked[0] == 2
    assert online(images[:0], []).shape == (0, 4, 4)


def test_keys_and_scores_are_checked():
    with pytest.raises(ValueError, match="expected a key for each of 2 images, got 1"):
        OnlineMasks(Counted())(random_images(2), ["a"])
    with pytest.raises(ValueError, match="NaN scores"):
        OnlineMasks(Counted())(torch.full((1, 3, 16, 16), torch.nan))


def test_a_batch_is_filled_up_to_a_multiple():
    images = random_images(5)
    assert torch.equal(filled_up(images, 4)[:5], images)
    assert filled_up(images, 4)[5:].eq(0).all()
    assert filled_up(images, 4).shape == (8, 3, 16, 16)
    assert filled_up(images, 5) is images


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("graphs", [False, True])
def test_a_gpu_makes_the_same_without_a_wait(graphs):
    images = torch.randint(256, (40, 3, 224, 224), dtype=torch.uint8, device="cuda")
    cnn = RandomCNN("resnet18").cuda()
    online, expected = OnlineMasks(cnn, graphs=graphs), half_mask(cnn.cell_scores(images))
    online(images)
    torch.cuda.set_sync_debug_mode("error")
    try:
        cells = online(images)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(cells, expected)
