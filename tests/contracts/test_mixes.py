"""What every mix of a batch promises, whatever it mixes."""

import pickle

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

import tobias_aug
from tests.contracts.mixes import ALL, CLASSES, same, seeded

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
# Rounding of the values of a batch: half a step of uint8, half a unit in the last place of values up to 8.
STEPS = {torch.uint8: 0.5, torch.float16: 2**-8, torch.bfloat16: 2**-5, torch.float32: 2**-18}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_mixes_any_batch_out_of_place_and_says_its_ratio(case, count, dtype, device):
    images, labels = case.batch(count, dtype)
    if dtype not in case.dtypes:
        with pytest.raises(ValueError, match=f"{dtype}"):
            case.call(case.make(), images, labels)
        return
    images, labels = images.to(device), labels.to(device)
    before = images.clone(), labels.clone()
    mix = case.make(generator=seeded(count))
    params = case.draw(mix, images, labels)
    mixed, soft = mix.apply((images, labels), params)
    assert same((images, labels), before)
    assert (mixed.shape, mixed.dtype, mixed.device) == (images.shape, dtype, images.device)
    assert mixed.data_ptr() != images.data_ptr()
    assert mixed.stride() == images.stride()
    partner, ratio = params["partner"].cpu(), params["ratio"].double().cpu()
    assert partner.shape == ratio.shape == (count,)
    found = case.ratios(images.cpu(), mixed.cpu(), partner)
    # A share comes from hundreds of values, each off by a step at most, beside differences of the values' own size.
    spread = images.double().std() if count > 1 else 1.0
    known = ~found.isnan()
    assert known.any() or count == 1
    assert ((found - ratio)[known].abs() <= 2 * STEPS[dtype] / float(spread)).all()
    if case.soft:
        hard = torch.nn.functional.one_hot(before[1], CLASSES).double().cpu()
        expected = ratio[:, None] * hard + (1 - ratio[:, None]) * hard[partner]
        torch.testing.assert_close(soft.double().cpu(), expected, rtol=0, atol=1e-6)
    else:
        assert soft is labels


def test_an_empty_batch_stays_empty(case):
    images, labels = case.batch(0)
    mixed, soft = case.call(case.make(), images, labels)
    assert mixed.shape == images.shape
    assert len(soft) == 0


def test_labels_may_be_distributions(case):
    images, labels = case.batch(6)
    mix = case.make()
    params = case.draw(mix, images, labels)
    rows = torch.nn.functional.one_hot(labels, CLASSES).float()
    hard, soft = mix.apply((images, labels), params)[1], mix.apply((images, rows), params)[1]
    if case.soft:
        torch.testing.assert_close(hard, soft)
    else:
        assert soft is rows


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_channels_last_stays_and_mixes_the_same(case, dtype):
    if len(case.size) != 3 or dtype not in case.dtypes:
        pytest.skip("no such batch")
    images, labels = case.batch(4, dtype)
    turned = images.contiguous(memory_format=torch.channels_last)
    mix = case.make(generator=seeded())
    params = case.draw(mix, images, labels)
    mixed = mix.apply((turned, labels), params)[0]
    assert mixed.stride() == turned.stride()
    # Sums over an image run in another order, which may turn the last bit.
    bit = max(1e-6, torch.finfo(dtype).eps if dtype.is_floating_point else 0.0)
    torch.testing.assert_close(mixed, mix.apply((images, labels), params)[0], rtol=bit, atol=1e-6)


@pytest.mark.parametrize("shape", ["nested dict", "list", "labels first"])
def test_classes_are_kept_in_any_nested_structure(case, shape):
    if len(case.size) != 3:
        pytest.skip("tv_tensors are images")
    images, labels = case.batch(6)
    image = tv_tensors.Image(images)
    batch = {
        "nested dict": (image, {"labels": labels, "name": list("abcdef"), "index": torch.arange(6)}),
        "list": [image, labels, 7],
        "labels first": {"label": labels, "image": images},
    }[shape]
    mix = case.make()
    params = case.draw(mix, images, labels)
    mixed = mix.apply(batch, params)
    assert type(mixed) is type(batch)
    expected = mix.apply((images, labels), params)
    if shape == "nested dict":
        found = mixed[0], mixed[1]["labels"]
        assert type(found[0]) is tv_tensors.Image
        assert mixed[1]["name"] == list("abcdef")
        assert mixed[1]["index"] is batch[1]["index"]
    else:
        found = (mixed["image"], mixed["label"]) if shape == "labels first" else mixed[:2]
        assert type(found[0]) is (torch.Tensor if shape == "labels first" else tv_tensors.Image)
    assert same([item.as_subclass(torch.Tensor) for item in found], expected)


def test_the_labels_getter_says_where_labels_are(case):
    images, labels = case.batch(6)
    mix = case.make(labels_getter=last)
    params = case.draw(case.make(), images, labels)
    assert same(mix.apply([images, "name", labels], params)[::2], case.make().apply((images, labels), params))
    if case.soft:
        with pytest.raises(ValueError, match="must return a tensor of the batch as it is, not a copy"):
            case.make(labels_getter=copied).apply([images, labels], params)
        with pytest.raises(ValueError, match="found no labels"):
            case.make().apply([images], params)
    with pytest.raises(ValueError, match="labels_getter must be \"default\", a callable or None, got 'labels'"):
        case.make(labels_getter="labels")


def last(batch):
    return batch[-1]


def copied(batch):
    return batch[-1].clone()


def test_segmentation_masks_move_with_their_pixels_or_are_rejected(case):
    if len(case.size) != 3 or case.targets:
        pytest.skip("no pixels, or masks that show what is pasted")
    colors = torch.randint(0, 256, (6, 1, 12, 16), dtype=torch.uint8)
    images, labels = colors.float(), torch.arange(6) % CLASSES
    for masks in (colors[:, 0], torch.cat([colors, 255 - colors], 1)):
        sample = {"image": tv_tensors.Image(images), "mask": tv_tensors.Mask(masks.clone()), "label": labels}
        mix = case.make()
        params = case.draw(mix, images, labels)
        if not case.masks:
            with pytest.raises(ValueError, match=f"{type(mix).__name__} cannot carry Mask: .* take it out"):
                mix.apply(sample, params)
            continue
        mixed = mix.apply(sample, params)
        assert type(mixed["mask"]) is tv_tensors.Mask
        assert mixed["mask"].dtype == torch.uint8
        plane = mixed["mask"].as_subclass(torch.Tensor).view(6, -1, 12, 16)
        assert torch.equal(plane[:, 0].float(), mixed["image"][:, 0].as_subclass(torch.Tensor))
        assert torch.equal(plane[:, -1], 255 - plane[:, 0] if masks.ndim == 4 else plane[:, 0])
        assert same([sample["mask"].as_subclass(torch.Tensor)], [masks])


@pytest.mark.parametrize("kind", ["BoundingBoxes", "KeyPoints"])
def test_what_cannot_be_carried_is_rejected_by_name_and_path(case, kind):
    if not hasattr(tv_tensors, kind):
        pytest.skip(f"this torchvision has no {kind}")
    images, labels = case.batch(2)
    items = {
        "BoundingBoxes": lambda: tv_tensors.BoundingBoxes(torch.zeros(2, 4), format="XYXY", canvas_size=(12, 16)),
        "KeyPoints": lambda: tv_tensors.KeyPoints(torch.zeros(2, 2), canvas_size=(12, 16)),
    }
    mix = case.make()
    params = case.draw(mix, images, labels)
    with pytest.raises(ValueError, match=rf"{type(mix).__name__} cannot carry {kind}: what stands at \['where'\]"):
        mix.apply({"image": images, "label": labels, "where": items[kind]()}, params)
    if case.targets and kind == "BoundingBoxes":
        return  # They are a target's.
    with pytest.raises(ValueError, match=rf"cannot carry {kind}: what stands at \[1\]\[0\]\['where'\]"):
        case.call(mix, images, [{"where": items[kind](), "labels": labels}])


def test_a_plain_tensor_of_the_images_size_does_not_stay_behind(case):
    images, labels = case.batch(2)
    mix = case.make()
    params = case.draw(mix, images, labels)
    with pytest.raises(
        ValueError, match=r"would leave the tensor of shape .* at \['depth'\] beside mixed images; wrap"
    ):
        mix.apply({"image": images, "label": labels, "depth": images.clone()}, params)


def test_plain_masks_are_not_taken_for_labels(case):
    if len(case.size) != 3:
        pytest.skip("no pixels")
    images, labels = case.batch(2)
    mix = case.make()
    params = case.draw(mix, images, labels)
    with pytest.raises(ValueError, match=r"would leave the tensor of shape \(2, 12, 16\) at \[1\] .* wrap it in"):
        mix.apply((images, torch.zeros(2, 12, 16).long()), params)


def test_images_alone_are_mixed_again_but_not_without_labels_at_first(case):
    images, labels = case.batch(6)
    mix = case.make()
    params = case.draw(mix, images, labels)
    assert torch.equal(mix.apply(images, params), mix.apply((images, labels), params)[0])
    if case.soft and not isinstance(mix, tobias_aug.PatchMerge):
        with pytest.raises(ValueError, match="found no labels"):
            mix(images)


def test_what_is_no_batch_is_rejected(case):
    images, labels = case.batch(4)
    params = case.draw(case.make(), images, labels)
    with pytest.raises(ValueError, match="params were drawn for 4 images, the batch holds 3"):
        case.make().apply((images[:3], labels[:3]), params)
    with pytest.raises(TypeError, match="works on a batch of images .* as one tensor, got str"):
        case.make().apply({"image": "a.jpg", "label": labels}, params)
    with pytest.raises(ValueError, match=r"expected a batch \(batch, .* got shape"):
        case.make().apply((images[0, 0, 0] if len(case.size) == 3 else images[0], labels), params)


def test_the_same_generator_gives_the_same_and_the_next_draw_another(case):
    images, labels = case.batch(16)
    first, again = (case.call(case.make(generator=seeded(3)), images, labels) for _ in range(2))
    assert same(first, again)
    mix = case.make(generator=seeded(3))
    drawn = [case.call(mix, images, labels)[0] for _ in range(3)]
    assert same(drawn[:1], first[:1])
    assert not torch.equal(drawn[0], drawn[1]) or not torch.equal(drawn[1], drawn[2])


def test_torchs_own_generator_decides_without_one_and_is_left_alone_with_one(case):
    images, labels = case.batch(16)
    torch.manual_seed(5)
    first = case.call(case.make(), images, labels)
    torch.manual_seed(5)
    assert same(first, case.call(case.make(), images, labels))
    torch.manual_seed(5)
    case.call(case.make(generator=seeded()), images, labels)
    left = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(left, torch.rand(3))


def test_replays_from_its_parameters_through_pickle(case):
    images, labels = case.batch(7)
    mix = case.make()
    params = case.draw(mix, images, labels)
    first = mix.apply((images, labels), params)
    copy = pickle.loads(pickle.dumps(mix))
    assert same(first, copy.apply((images, labels), pickle.loads(pickle.dumps(params))))
    assert same(first, mix.apply((images, labels), params))


def test_is_a_v2_transform_whose_repr_makes_it_again(case):
    mix = case.make()
    assert isinstance(mix, v2.Transform)
    again = eval(repr(mix), vars(tobias_aug) | {name: getattr(tobias_aug, name) for name in tobias_aug.__all__})
    assert repr(again) == repr(mix)
    images, labels = case.batch(5)
    results = []
    for transform in (mix, again):
        torch.manual_seed(1)
        results.append(case.call(transform, images, labels))
    assert same(*results)
