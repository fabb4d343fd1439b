import pickle

import pytest
import torch
from torch.utils.data import DataLoader, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug import PatchMerge, half_mask, merge_patches
from tobias_aug.masks import cells_to_pixels


def batch(count, dtype=torch.uint8, size=(12, 18)):
    torch.manual_seed(count)
    return (torch.rand(count, 3, *size) * 255).to(dtype), half_mask(torch.rand(count, 4, 4))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32])
def test_is_the_functional_merge_of_the_drawn_pairs(count, dtype):
    images, masks = batch(count, dtype)
    before = images.clone()
    merge = PatchMerge(p=0.6)
    params = merge.make_params([images], masks)
    merged = merge.apply(images, params)
    assert torch.equal(images, before)
    assert (merged.shape, merged.dtype) == (images.shape, images.dtype)
    partner = params["partner"]
    for n in range(count):
        if not params["changed"][n]:
            assert torch.equal(merged[n], images[n])
            assert params["ratio"][n] == 1
            continue
        mine, theirs = masks[n], masks[partner[n]]
        kept = cells_to_pixels(mine, 12, 18)
        assert torch.equal(merged[n][:, kept], images[n][:, kept])
        assert torch.isclose(params["ratio"][n], kept.float().mean())
        background = (~theirs).flatten().nonzero()[:, 0].tolist()
        order = torch.tensor([background.index(donor) for donor in params["donors"][n][~mine].tolist()])
        assert torch.equal(merged[n], merge_patches(images[n], images[partner[n]], mine, theirs, order))


def test_draws_from_its_generator_and_replays():
    images, masks = batch(16)
    first, again = (PatchMerge(generator=torch.Generator().manual_seed(5))(images, masks) for _ in range(2))
    assert torch.equal(first, again)
    merge = PatchMerge(p=1.0)
    params = merge.make_params([images], masks)
    assert torch.equal(merge.apply(images, params), merge.apply(images, pickle.loads(pickle.dumps(params))))
    assert not torch.equal(merge(images, masks), merge(images, masks))


def test_a_partner_can_be_assigned():
    images, masks = batch(5)
    merge = PatchMerge(p=1.0)
    partner = torch.arange(5).roll(1)
    assert torch.equal(merge.make_params([images], masks, partner)["partner"], partner)
    merge(images, masks, partner=partner)
    with pytest.raises(ValueError, match=r"partner must hold 5 indices below 5, got \[5, 0, 0, 0, 0\]"):
        merge(images, masks, partner=torch.tensor([5, 0, 0, 0, 0]))


def test_without_masks_random_cells_are_kept():
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 8, 8)
    merged = PatchMerge(p=1.0)(images, partner=torch.arange(6).roll(1))
    own = (merged == images)[:, 0].view(6, 4, 2, 4, 2)[:, :, 0, :, 0]
    assert own.flatten(1).sum(1).tolist() == [8] * 6
    assert len({tuple(mask.flatten().tolist()) for mask in own}) > 1


def test_classes_are_kept_and_segmentation_moves_with_its_pixels():
    colors = torch.randint(0, 256, (6, 1, 12, 18), dtype=torch.uint8)
    sample = {
        "image": tv_tensors.Image(colors),
        "mask": tv_tensors.Mask(colors[:, 0].clone()),
        "label": torch.arange(6),
        "name": list("abcdef"),
    }
    merged = PatchMerge(p=1.0)(sample, batch(6)[1])
    assert type(merged["image"]) is tv_tensors.Image
    assert type(merged["mask"]) is tv_tensors.Mask
    assert torch.equal(merged["image"][:, 0].as_subclass(torch.Tensor), merged["mask"].as_subclass(torch.Tensor))
    assert not torch.equal(merged["image"], sample["image"])
    assert merged["label"] is sample["label"]
    assert merged["name"] == list("abcdef")


def test_boxes_are_rejected_by_name():
    boxes = tv_tensors.BoundingBoxes(torch.zeros(2, 4), format="XYXY", canvas_size=(12, 18))
    images, masks = batch(2)
    with pytest.raises(ValueError, match="PatchMerge cannot carry BoundingBoxes: .* take them out of the sample"):
        PatchMerge()((images, boxes), masks)


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (
            torch.zeros(2, 3, 8, 8),
            torch.ones(2, 3, 3).bool(),
            r"needs masks of shape \(2, 4, 4\) for 2 images, got \(2, 3, 3\)",
        ),
        (torch.zeros(2, 3, 8, 8), torch.ones(3, 4, 4).bool(), r"for 2 images, got \(3, 4, 4\)"),
        (torch.zeros(3, 8, 8), torch.ones(3, 4, 4).bool(), r"expected a batch .* got shape \(3, 8, 8\)"),
    ],
)
def test_masks_that_do_not_fit_are_rejected(images, masks, message):
    with pytest.raises(ValueError, match=message):
        PatchMerge()(images, masks)


def test_a_probability_is_a_probability():
    with pytest.raises(ValueError, match=r"p is a probability in \[0, 1\], got 1.5"):
        PatchMerge(1.5)


def test_is_a_v2_transform_with_a_repr():
    assert isinstance(PatchMerge(), v2.Transform)
    assert repr(PatchMerge(0.5)) == "PatchMerge(p=0.5, grid=4, inplace=False)"
    assert repr(pickle.loads(pickle.dumps(PatchMerge(0.5)))) == "PatchMerge(p=0.5, grid=4, inplace=False)"


class Collate:
    def __call__(self, samples):
        images, labels = default_collate(samples)
        return PatchMerge(p=1.0).make_params([images])["donors"], labels


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_differently(persistent):
    samples = [(torch.zeros(1, 4, 4), n) for n in range(16)]
    loader = DataLoader(samples, 4, num_workers=2, collate_fn=Collate(), persistent_workers=persistent)
    drawn = [tuple(donors.flatten().tolist()) for _ in range(2) for donors, _ in loader]
    assert len(set(drawn)) == 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_merges_the_same():
    images, masks = batch(8, torch.float32, (51, 64))
    merge = PatchMerge(p=0.7)
    params = merge.make_params([images], masks)
    assert torch.equal(merge.apply(images.cuda(), params).cpu(), merge.apply(images, params))
