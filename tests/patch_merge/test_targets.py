import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from tobias_aug import PatchMerge, half_mask
from tobias_aug.masks import cells_to_pixels

SIZE = (24, 32)


def detection(count=5, box_format="XYXY", seed=0):
    """Images and targets with instance masks that fill their boxes."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, *SIZE, generator=random)
    targets = []
    for n in range(count):
        # The first image has no objects.
        corner = torch.stack([torch.randint(0, side - 12, (n,), generator=random) for side in SIZE[::-1]], 1)
        extent = torch.randint(1, 7, (n, 2), generator=random) * 2
        corners = torch.cat([corner, corner + extent], 1).float()
        y, x = torch.arange(SIZE[0])[:, None], torch.arange(SIZE[1])
        masks = [(x >= x0) & (x < x1) & (y >= y0) & (y < y1) for x0, y0, x1, y1 in corners]
        boxes = tv_tensors.BoundingBoxes(corners.view(-1, 4), format="XYXY", canvas_size=SIZE)
        targets.append(
            {
                "boxes": functional.convert_bounding_box_format(boxes, new_format=box_format),
                "labels": torch.arange(n) + 10 * n,
                "masks": tv_tensors.Mask(torch.stack(masks) if masks else torch.zeros(0, *SIZE).bool()),
                "image_id": torch.tensor([n]),
                "name": f"{n}.jpg",
            }
        )
    return images, targets


@pytest.mark.parametrize("box_format", ["XYXY", "XYWH", "CXCYWH"])
@pytest.mark.parametrize("seed", range(4))
def test_objects_whose_center_stays_are_kept_and_cut_to_what_stays(box_format, seed):
    images, targets = detection(6, box_format, seed)
    merge = PatchMerge(p=0.7, boxes="keep-center")
    params = merge.make_params((images, targets), half_mask(torch.rand(6, 4, 4)))
    merged, found = merge.apply((images, targets), params)
    assert torch.equal(merged, merge.apply(images, params))
    kept = cells_to_pixels(params["donors"] < 0, *SIZE)
    assert not kept.all()
    for n, (before, after) in enumerate(zip(targets, found, strict=True)):
        corners = functional.convert_bounding_box_format(before["boxes"], new_format="XYXY").long().tolist()
        stays = [bool(kept[n, (y0 + y1) // 2, (x0 + x1) // 2]) for x0, y0, x1, y1 in corners]
        assert after["labels"].tolist() == before["labels"][torch.tensor(stays, dtype=torch.bool)].tolist()
        expected = before["masks"].as_subclass(torch.Tensor)[torch.tensor(stays, dtype=torch.bool)] & kept[n]
        assert type(after["masks"]) is tv_tensors.Mask
        assert torch.equal(after["masks"].as_subclass(torch.Tensor), expected)
        boxes = after["boxes"]
        assert type(boxes) is tv_tensors.BoundingBoxes
        assert (boxes.format.name, boxes.canvas_size) == (box_format, SIZE)
        around = [
            [x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in (mask.nonzero(as_tuple=True) for mask in expected)
        ]
        assert functional.convert_bounding_box_format(boxes, new_format="XYXY").tolist() == [
            [int(edge) for edge in box] for box in around
        ]
        assert (after["image_id"], after["name"]) == (before["image_id"], before["name"])


def test_targets_of_unchanged_images_stay_to_the_bit_and_inputs_are_left_alone():
    images, targets = detection()
    targets[2]["boxes"] = tv_tensors.wrap(targets[2]["boxes"] + 0.123, like=targets[2]["boxes"])
    before = [target["boxes"].clone() for target in targets]
    found = PatchMerge(p=0.0, boxes="keep-center")((images, targets), half_mask(torch.rand(5, 4, 4)))[1]
    PatchMerge(p=1.0, boxes="keep-center")((images, targets), half_mask(torch.rand(5, 4, 4)))
    for boxes, target, own in zip(before, targets, found, strict=True):
        assert torch.equal(target["boxes"], boxes)
        assert torch.equal(own["boxes"], boxes)


def test_boxes_are_rejected_unless_asked_for():
    images, targets = detection()
    with pytest.raises(ValueError, match=r"cannot carry BoundingBoxes: what stands at \[1\]\[0\]\['boxes'\]"):
        PatchMerge()((images, targets), half_mask(torch.rand(5, 4, 4)))
    with pytest.raises(ValueError, match='boxes must be "reject" or "keep-center", got \'drop\''):
        PatchMerge(boxes="drop")
    assert repr(PatchMerge(boxes="keep-center")) == "PatchMerge(p=0.3, grid=4, boxes='keep-center', inplace=False)"


def change(index, key, value):
    images, targets = detection()
    targets[index][key] = value
    return images, targets


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (lambda: change(2, "boxes", torch.zeros(2, 4)), "target 2 holds no tv_tensors.BoundingBoxes, unlike others; w"),
        (lambda: (detection()[0], detection()[1][:4]), "expected a target for each of 5 images, got 4"),
        (
            lambda: change(3, "masks", tv_tensors.Mask(torch.zeros(24, 32))),
            r"cannot carry the Mask of shape \(24, 32\) at 'masks' of target 3; give segmentation masks as one batch",
        ),
        (
            lambda: change(0, "boxes", tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(9, 9))),
            r"target 0 has XYXY boxes on a canvas of \(9, 9\) for an image of \(24, 32\); resize them together",
        ),
    ],
)
def test_targets_that_do_not_fit_are_rejected(batch, message):
    with pytest.raises(ValueError, match=message):
        PatchMerge(p=1.0, boxes="keep-center")(batch(), half_mask(torch.rand(5, 4, 4)))


@pytest.mark.parametrize(
    "value",
    [
        lambda n: torch.zeros(n, 24, 32),
        lambda n: torch.zeros(n, 12, 16),
        lambda n: torch.zeros(24, 32),
        lambda n: np.zeros((n, 24, 32)),
        lambda n: Image.new("L", (32, 24)),
        lambda n: [torch.zeros(24, 32)] * n,
        lambda n: {"inner": torch.zeros(n, 24, 32)},
    ],
)
@pytest.mark.parametrize("index", [1, 4])
def test_plain_masks_of_objects_are_rejected_whatever_their_number(index, value):
    batch = change(index, "plain", value(index))
    with pytest.raises(ValueError, match=f"PatchMerge cannot carry the .* at 'plain' of target {index}; give segm"):
        PatchMerge(p=1.0, boxes="keep-center")(batch, half_mask(torch.rand(5, 4, 4)))


def test_entries_an_object_are_dropped_with_it_in_any_container():
    images, targets = detection(6)
    for n, target in enumerate(targets):
        target["labels"] = torch.arange(n)
        target["array"], target["names"] = np.arange(n), tuple("abcdef"[:n])
        target["attributes"] = torch.arange(n)[:, None].expand(n, 20)
        target["tags"] = ["indoor", "night"]
    merge = PatchMerge(p=1.0, boxes="keep-center")
    for target in merge((images, targets), half_mask(torch.rand(6, 4, 4)))[1]:
        kept = target["labels"].tolist()
        assert target["array"].tolist() == kept
        assert target["names"] == tuple("abcdef"[n] for n in kept)
        assert target["attributes"].shape == (len(kept), 20)
        assert target["attributes"][:, 0].tolist() == kept
        assert target["tags"] == ["indoor", "night"]
