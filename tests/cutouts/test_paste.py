"""CutPaste: pixels, boxes, masks and labels move together."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug import CutPaste
from tobias_aug.cutouts.pastes import extents

SIZE = (32, 48)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def donors(count=4, seed=0):
    """Ellipses and squares of their own colors, with a margin; labels 10, 11, ..."""
    found = []
    for number in range(count):
        cutout = torch.randint(1, 256, (4, 20, 16), dtype=torch.uint8, generator=seeded(seed + number))
        rows, columns = torch.meshgrid(torch.arange(20), torch.arange(16), indexing="ij")
        inside = ((rows - 10) / 8) ** 2 + ((columns - 8) / 6) ** 2 <= 1 if number % 2 else (rows > 2) & (columns > 3)
        cutout[3] = inside * 255
        found.append((cutout, 10 + number))
    return found


def objects(count, size=SIZE, seed=0):
    """Rectangles that do not overlap: columns of the image."""
    masks = torch.zeros(count, *size, dtype=torch.bool)
    random = np.random.default_rng(seed)
    for number in range(count):
        left = number * size[1] // count
        right = left + 1 + int(random.integers(size[1] // count - 1))
        top = int(random.integers(size[0] - 1))
        masks[number, top : top + 1 + int(random.integers(size[0] - top)), left:right] = True
    return masks


def sample(count=3, size=SIZE, seed=0, masks=True, form="XYXY", dtype=torch.uint8, **more):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=seeded(seed))
    image = image if dtype == torch.uint8 else (image / 255).to(dtype)
    instances = objects(count, size, seed)
    corners = tv_tensors.BoundingBoxes(extents(instances).float(), format="XYXY", canvas_size=size)
    target = {
        "boxes": v2.functional.convert_bounding_box_format(corners, new_format=form),
        "labels": torch.arange(count),
        "area": instances.flatten(1).sum(1).float(),
        "iscrowd": torch.zeros(count, dtype=torch.int64),
        "image_id": 7,
        **more,
    }
    if masks:
        target["masks"] = tv_tensors.Mask(instances.byte())
    return tv_tensors.Image(image), target


def corners_of(target):
    return v2.functional.convert_bounding_box_format(target["boxes"], new_format="XYXY").as_subclass(torch.Tensor)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 5),
    size=st.tuples(st.integers(6, 40), st.integers(12, 40)),
    scale=st.sampled_from([(0.1, 0.5), (0.5, 1.5), (3.0, 4.0)]),
    blend=st.sampled_from(["alpha", "gaussian", "hard"]),
    form=st.sampled_from(["XYXY", "XYWH", "CXCYWH"]),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.float16]),
    max_covered=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_every_paste_keeps_boxes_masks_labels_and_pixels_together(
    seed, count, size, scale, blend, form, dtype, max_covered
):
    image, target = sample(count, size, seed, form=form, dtype=dtype)
    options = {"count": (0, 4), "scale": scale, "blend": blend, "max_covered": max_covered}
    paste = CutPaste(donors(), p=0.9, generator=seeded(seed), **options)
    before = image.clone(), {name: torch.as_tensor(value).clone() for name, value in target.items()}
    params = paste.make_params((image, target))
    mixed, updated = paste.apply((image, target), params)
    # The input stays, and types are kept.
    assert torch.equal(image, before[0])
    assert all(torch.equal(torch.as_tensor(target[name]), value) for name, value in before[1].items())
    assert type(mixed) is tv_tensors.Image
    assert (mixed.dtype, mixed.shape) == (image.dtype, image.shape)
    assert [(type(updated[name]), getattr(updated[name], "dtype", None)) for name in target] == [
        (type(value), getattr(value, "dtype", None)) for value in target.values()
    ]
    assert updated["boxes"].format == target["boxes"].format
    assert updated["boxes"].canvas_size == size
    # Boxes equal masks' extents, nothing is empty, nothing lies outside.
    masks = updated["masks"].as_subclass(torch.Tensor).bool()
    assert masks.flatten(1).any(1).all()
    torch.testing.assert_close(corners_of(updated), extents(masks).float(), rtol=0, atol=0)
    assert torch.equal(updated["area"], masks.flatten(1).sum(1).float())
    # One entry per object everywhere; own objects in order, then pasted ones in order.
    pastes = params["pastes"][0]
    assert {len(updated[name]) for name in ("boxes", "labels", "area", "iscrowd", "masks")} == {len(masks)}
    own = updated["labels"][: len(masks) - len(pastes)].tolist()
    assert own == sorted(set(own))
    assert updated["labels"][len(own) :].tolist() == [each.label for each in pastes]
    # No pixel belongs to two objects, and only pasted ones are changed.
    assert masks.sum(0).max() <= 1 if len(masks) else True
    pasted = masks[len(own) :].any(0)
    changed = (mixed != image).any(0)
    assert not (changed & ~pasted).any()
    assert float(params["ratio"]) == pytest.approx(float((~pasted).float().mean()))
    # Of each own object no more than the threshold is covered; others are gone for it.
    truth = before[1]["masks"].bool()
    for label, mask in enumerate(truth):
        share = float((mask & pasted).sum() / mask.sum())
        assert (label in own) == (share <= max_covered and share < 1)
        if label in own:
            assert torch.equal(masks[own.index(label)], mask & ~pasted)


def test_pixels_are_the_donors_in_order_at_their_own_size():
    image, target = sample(0)
    cutouts = donors()
    paste = CutPaste(cutouts, p=1.0, count=(2, 2), scale=(1.0, 1.0), flip=0.5, blend="hard", generator=seeded(3))
    params = paste.make_params((image, target))
    expected = image.as_subclass(torch.Tensor).clone()
    for each in params["pastes"][0]:
        cutout, label = cutouts[each.donor]
        rows, columns = (cutout[3] > 0).any(1).nonzero()[:, 0], (cutout[3] > 0).any(0).nonzero()[:, 0]
        cutout = cutout[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        cutout = cutout.flip(-1) if each.flipped else cutout
        assert label == each.label
        region = expected[:, each.top : each.top + cutout.shape[1], each.left : each.left + cutout.shape[2]]
        region.copy_(torch.where(cutout[3] > 0, cutout[:3], region))
    assert torch.equal(paste.apply((image, target), params)[0].as_subclass(torch.Tensor), expected)


def test_boxes_without_masks_go_by_the_covered_share_of_their_area_and_are_cut():
    square = torch.full((4, 10, 10), 255, dtype=torch.uint8)
    image = torch.zeros(3, 10, 20, dtype=torch.uint8)
    corners = torch.tensor([[2.5, 0, 14.5, 10], [0, 0, 12, 10], [15, 1, 19, 9], [1, 1, 9, 9]])
    boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(10, 20))
    paste = CutPaste([(square, 5)], p=1.0, count=(1, 1), scale=(1.0, 1.0), max_covered=0.7, flip=0.0)
    params = paste.make_params((image, {"boxes": boxes}))
    params["pastes"][0][0] = params["pastes"][0][0]._replace(top=0, left=0)
    _, target = paste.apply((image, {"boxes": boxes, "labels": torch.tensor([1, 2, 3, 4])}), params)
    # 8 of the 13 columns of the first are covered; 10 of 12 of the second; none of the third; all of the last.
    assert target["labels"].tolist() == [1, 3, 5]
    assert target["boxes"].tolist() == [[10, 0, 14.5, 10], [15, 1, 19, 9], [0, 0, 10, 10]]


def test_a_batch_its_lists_and_its_samples_are_pasted_alike():
    samples = [sample(3, seed=number) for number in range(4)]
    images, targets = [image for image, _ in samples], [target for _, target in samples]
    paste = CutPaste(donors(), p=0.7, generator=seeded(1))
    params = paste.make_params((torch.stack(images), targets))
    assert len(params["pastes"]) == 4
    stacked, by_batch = paste.apply((tv_tensors.Image(torch.stack(images)), targets), params)
    listed, by_list, names = paste.apply((tuple(images), tuple(targets), "abcd"), params)
    assert (type(stacked), type(listed), type(by_list), names) == (tv_tensors.Image, tuple, tuple, "abcd")
    for number in range(4):
        own = {name: params[name][number : number + 1] for name in params}
        image, target = paste.apply((images[number], targets[number]), own)
        flat = paste.apply({"image": images[number], **targets[number]}, own)
        for other, entries in (
            (stacked[number], by_batch[number]),
            (listed[number], by_list[number]),
            (flat["image"], flat),
        ):
            assert torch.equal(image, other)
            assert all(torch.equal(torch.as_tensor(target[name]), torch.as_tensor(entries[name])) for name in target)
    again = CutPaste(donors(), p=0.7, generator=seeded(1))((tuple(images), tuple(targets)))
    assert all(torch.equal(first, second) for first, second in zip(again[0], listed, strict=True))


def test_semantic_masks_show_the_pasted_classes():
    image, target = sample(2)
    plane = torch.zeros(SIZE, dtype=torch.uint8)
    paste = CutPaste(donors(), p=1.0, count=(2, 3), generator=seeded(2))
    params = paste.make_params((image, target))
    owner = torch.zeros(SIZE, dtype=torch.uint8)
    for each in params["pastes"][0]:
        rows, columns = each.mask.shape
        owner[each.top : each.top + rows, each.left : each.left + columns][each.mask] = each.label
    inside = paste.apply((image, {**target, "semantic": tv_tensors.Mask(plane)}), params)[1]["semantic"]
    beside = paste.apply((image, tv_tensors.Mask(plane[None])), params)[1]
    batch = paste.apply((image[None], tv_tensors.Mask(plane[None])), params)[1]
    for found in (inside, beside[0], batch[0]):
        assert torch.equal(torch.as_tensor(found), owner)
    assert type(inside) is type(beside) is type(batch) is tv_tensors.Mask
    named = CutPaste(donors(), semantic_ids={label: 2 * label for label in range(10, 14)})
    assert torch.equal(named.apply((image, tv_tensors.Mask(plane[None])), params)[1][0], 2 * owner)
    with pytest.raises(ValueError, match="semantic_ids has no pixel value for class number 1[0-3]; add it"):
        CutPaste(donors(), semantic_ids={}).apply((image, tv_tensors.Mask(plane[None])), params)


def test_entries_per_object_are_known_filled_or_rejected():
    image, target = sample(3, distance=torch.ones(3), names=["a", "b", "c"], caption="three", colors=np.ones((3, 2)))
    paste = CutPaste(donors(), p=1.0, count=(1, 1), scale=(0.2, 0.2), max_covered=1.0)
    with pytest.raises(
        ValueError, match="target 0 has one 'distance' per object, .* say it by fill={'distance': value"
    ):
        paste(image, target)
    fill = {"distance": 0.5, "names": "new", "colors": 3}
    _, updated = CutPaste(donors(), p=1.0, count=(1, 1), scale=(0.2, 0.2), max_covered=1.0, fill=fill)(image, target)
    kept = len(updated["boxes"]) - 1
    assert updated["distance"].tolist() == [1.0] * kept + [0.5]
    assert updated["names"][-1] == "new"
    assert len(updated["names"]) == kept + 1
    assert updated["colors"].tolist() == [[1.0, 1.0]] * kept + [[3.0, 3.0]]
    assert updated["caption"] == "three"
    assert updated["iscrowd"].tolist() == [0] * (kept + 1)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"depth": torch.zeros(*SIZE, 1)}, "cannot carry the tensor of shape .* at 'depth' of target 0; give semantic"),
        ({"panoptic": tv_tensors.Mask(torch.zeros(9, *SIZE))}, "cannot carry the Mask of shape .* at 'panoptic' of"),
        ({"boxes": torch.zeros(3, 4)}, "cannot carry the Mask of shape"),
        (
            {"boxes": tv_tensors.BoundingBoxes(torch.zeros(3, 4), format="XYXY", canvas_size=(5, 5))},
            "target 0 has XYXY boxes on a canvas of \\(5, 5\\) for an image of \\(32, 48\\); resize them together",
        ),
    ],
)
def test_what_cannot_be_carried_is_named(more, message):
    image, target = sample(3, **more)
    with pytest.raises(ValueError, match=message):
        CutPaste(donors(), p=1.0)(image, target)


def test_images_that_are_none_are_rejected():
    image, target = sample(2)
    paste = CutPaste(donors(), p=1.0)
    params = paste.make_params((image, target))
    with pytest.raises(ValueError, match="float images lie in 0 .. 1, got -2 to 3; paste before they are normalized"):
        paste.apply((torch.tensor([-2.0, 3.0]).repeat(3, 32, 24), target), params)
    with pytest.raises(ValueError, match="takes images of uint8 or floats, got torch.int64"):
        paste.apply((image.long(), target), params)
    with pytest.raises(ValueError, match="onto images of 3 channels or 1, got 4"):
        paste.apply((torch.zeros(4, *SIZE), target), params)
    with pytest.raises(ValueError, match="params were drawn for images of \\(32, 48\\), got \\(8, 8\\)"):
        paste.apply((torch.zeros(3, 8, 8), {}), params)
    with pytest.raises(ValueError, match="params were drawn for 1 images, the batch holds 2"):
        paste.apply(([image, image], [target, target]), params)
    with pytest.raises(ValueError, match="expected a target for each of 1 images, got 2"):
        paste.apply((image[None], [target, target]), params)
    with pytest.raises(ValueError, match="cannot carry Mask of 2 planes: a semantic mask has one, and instance masks"):
        paste.apply((image[None], tv_tensors.Mask(torch.zeros(1, 2, *SIZE))), params)
    with pytest.raises(TypeError, match="works on tensors, got a PIL image; put v2.ToImage\\(\\) before it"):
        paste(Image.new("RGB", (9, 9)), target)
    gray = paste.apply((torch.zeros(1, *SIZE, dtype=torch.uint8), target), params)[0]
    assert gray.shape == (1, *SIZE)
    assert gray.any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"p": 2.0}, "p lies in \\[0, 1\\], got 2.0"),
        ({"count": (3, 1)}, "count is the least and the greatest number of objects, got \\(3, 1\\)"),
        ({"scale": (0.0, 1.0)}, "scale is two positive numbers, the least first, got \\(0.0, 1.0\\)"),
        ({"size": (0.5, 0.1)}, "size is two positive numbers"),
        ({"blend": "poisson"}, "blend is one of alpha, gaussian, hard, got 'poisson'"),
        ({"sigma": 0.0}, "sigma is a positive number of pixels"),
        ({"max_covered": -0.1}, "max_covered lies in"),
    ],
)
def test_options_out_of_range_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        CutPaste(donors(), **options)


def test_cutouts_that_are_none_are_rejected():
    image, target = sample(1)
    with pytest.raises(TypeError, match="cutouts must be a CutoutDataset or a sequence of .*, got int"):
        CutPaste(3)
    with pytest.raises(ValueError, match="there are no cut-outs to paste; extract some with tobias-aug cutouts"):
        CutPaste([])
    with pytest.raises(ValueError, match="cut-out 0 must be an RGBA image, or uint8 of shape .*, got RGB"):
        CutPaste([(Image.new("RGB", (9, 9)), 1)], p=1.0, count=(1, 1))(image, target)
    with pytest.raises(ValueError, match="cut-out 0 has no opaque pixel; take it out"):
        CutPaste([(torch.zeros(4, 9, 9, dtype=torch.uint8), 1)], p=1.0, count=(1, 1))(image, target)


def test_sizes_are_shares_of_the_image_and_classes_are_balanced():
    image, target = sample(1, (100, 200))
    many = [donors(1)[0]] * 9 + [donors(2)[1]]
    paste = CutPaste(many, p=1.0, count=(1, 1), size=(0.2, 0.4), balanced=True, generator=seeded(4))
    params = [paste.make_params((image, target))["pastes"][0][0] for _ in range(60)]
    longest = [max(each.mask.shape) for each in params]
    assert 20 <= min(longest) < 24
    assert 36 < max(longest) <= 40
    assert 15 < sum(each.label == 11 for each in params) < 45


def test_replays_from_its_parameters_through_pickle_also_within_a_compose():
    image, target = sample(3)
    paste = CutPaste(donors(), p=1.0)
    params = paste.make_params((image, target))
    copies = pickle.loads(pickle.dumps((paste, params)))
    first, second = paste.apply((image, target), params), copies[0].apply((image, target), copies[1])
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1]["boxes"], second[1]["boxes"])
    composed = v2.Compose([paste, v2.RandomHorizontalFlip(1.0), v2.ToDtype(torch.float32, scale=True)])
    mixed, updated = composed(image, target)
    assert (mixed.dtype, mixed.shape, len(updated["boxes"])) == (torch.float32, image.shape, len(updated["labels"]))
