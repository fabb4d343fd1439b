"""What lies beside mixed images is mixed too or rejected by name, whatever its container, dtype, size or number."""

from collections import UserDict, deque, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from tobias_aug import BetweenClassAudioMix, BetweenClassMix, CutMix, Mixup, PatchMerge, RandomMerge

Pair = namedtuple("Pair", ["image", "mask"])


@dataclass
class Sample:
    mask: torch.Tensor


def pil(count):
    return [Image.new("L", (32, 24)) for _ in range(count)]


def objects(entries):
    made = np.empty(len(entries), dtype=object)
    made[:] = list(entries)
    return made


def boxes():
    return tv_tensors.BoundingBoxes(torch.zeros(1, 4), format="XYXY", canvas_size=(24, 32))


def targets(name, make, numbers=(4, 4, 4, 4)):
    return [{name: make(number)} for number in numbers]


# A batch of 4 images of 24 x 32.
IMAGES = torch.rand(4, 3, 24, 32)
IMAGE_LIKE = {
    "masks": torch.zeros(4, 24, 32),
    "masks of bytes": torch.zeros(4, 24, 32, dtype=torch.uint8),
    "masks of booleans": torch.zeros(4, 24, 32).bool(),
    "masks of half the size": torch.zeros(4, 12, 16).long(),
    "masks of twice the size": torch.zeros(4, 48, 64),
    "masks of another aspect": torch.zeros(4, 20, 20),
    "masks with a channel": torch.zeros(4, 1, 6, 8),
    "masks of another number": torch.zeros(7, 24, 32),
    "one mask": torch.zeros(24, 32),
    "channels last": torch.zeros(4, 24, 32, 3),
    "one image, channels last": torch.zeros(24, 32, 3),
    "heatmaps": torch.rand(4, 17, 8, 8),
    "a second view": torch.zeros(4, 3, 24, 32),
    "a second view of another size": torch.zeros(4, 3, 9, 9),
    "views of other sizes": [torch.rand(4, 3, 12, 12), torch.rand(4, 3, 16, 16)],
    "a video": torch.zeros(4, 2, 3, 24, 32),
    "a list of masks": list(torch.zeros(4, 24, 32)),
    "a tuple of masks": tuple(torch.zeros(4, 24, 32)),
    "a deque of masks": deque(torch.zeros(4, 24, 32)),
    "a list of masks of half the size": list(torch.zeros(4, 12, 16)),
    "a list of masks of their own sizes": [torch.zeros(10 + n, 20 - n) for n in range(4)],
    "a list of images": list(torch.zeros(4, 3, 10, 10)),
    "an array": np.zeros((4, 24, 32)),
    "an array of half the size": np.zeros((4, 12, 16), dtype=np.uint8),
    "a list of arrays": list(np.zeros((4, 24, 32))),
    "an array of arrays": objects(np.zeros((4, 24, 32))),
    "PIL images": pil(4),
    "PIL images of another number": pil(3),
    "one PIL image": pil(1)[0],
    "an array of PIL images": objects(pil(4)),
    "a mapping of another kind": UserDict(pixel_mask=torch.zeros(4, 12, 16)),
    "boxes in a mapping of another kind": UserDict(boxes=boxes()),
    "a dataclass": Sample(torch.zeros(4, 24, 32)),
    **{f"{n} instance masks": targets("masks", lambda n: torch.zeros(n, 24, 32), [n] * 4) for n in (1, 3, 4, 5)},
    **{f"{n} smaller instance masks": targets("masks", lambda n: torch.zeros(n, 6, 8), [n] * 4) for n in (1, 4, 7)},
    "any number of instance masks": targets("masks", lambda n: torch.zeros(n, 24, 32), range(4)),
    "3 wrapped instance masks": targets("masks", lambda n: tv_tensors.Mask(torch.zeros(3, 24, 32))),
    "4 wrapped instance masks": targets("masks", lambda n: tv_tensors.Mask(torch.zeros(4, 24, 32))),
    "a list of wrapped masks": [tv_tensors.Mask(torch.zeros(24, 32)) for _ in range(4)],
    "a list of wrapped boxes": [boxes() for _ in range(4)],
}
OTHER = {
    "tokens": torch.zeros(4, 12).long(),
    "an embedding": torch.zeros(4, 512),
    "lists of tokens": [torch.zeros(4, 12).long(), torch.zeros(4, 9).long()],
    "padded boxes": torch.zeros(4, 5, 4),
    "as many boxes as images": torch.zeros(4, 4, 4),
    "padded key points": torch.zeros(4, 17, 3),
    "a list of boxes": [torch.zeros(n, 4) for n in range(4)],
    "plain targets": targets("boxes", lambda n: torch.zeros(n, 4), [4, 5, 0, 9]),
    "plain key points": targets("keypoints", lambda n: torch.zeros(n, 17, 3), [4, 5, 0, 9]),
    "an index": torch.arange(4),
    "an array of indices": np.arange(4),
    "names": ["a", "b", "c", "d"],
    "an array of names": np.array(["a", "b", "c", "d"], dtype=object),
    "a mapping of another kind": UserDict(input_ids=torch.zeros(4, 12).long()),
    "nothing": None,
}
MIXES = {
    "Mixup": lambda: Mixup(5),
    "CutMix": lambda: CutMix(5),
    "BetweenClassMix": lambda: BetweenClassMix(5),
    "RandomMerge": lambda: RandomMerge(1.0),
    "PatchMerge": lambda: PatchMerge(1.0),
}


def batches(item):
    """Batches as collate functions make them, with the path of the item and a function that finds it."""
    labels = torch.arange(4)
    yield {"image": IMAGES, "label": labels, "item": item}, r"\['item'\]", lambda batch: batch["item"]
    yield (tv_tensors.Image(IMAGES), labels, item), r"\[2\]", lambda batch: batch[2]
    inner = [IMAGES, {"labels": labels, "item": {"inner": item}}]
    yield inner, r"\[1\]\['item'\]\['inner'\]", lambda batch: batch[1]["item"]["inner"]


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("kind", IMAGE_LIKE)
def test_what_looks_like_an_image_is_rejected_by_name_and_path(kind, mix):
    for batch, path, _ in batches(IMAGE_LIKE[kind]):
        with pytest.raises(ValueError, match=rf"{mix} (would leave|cannot carry) .* at {path}.*take (it|them) out"):
            MIXES[mix]()(batch)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("kind", OTHER)
def test_other_things_stay_as_they_are(kind, mix):
    for batch, _, find in batches(OTHER[kind]):
        found = find(MIXES[mix]()(batch))
        if isinstance(found, list):
            assert all(one is other or set(one) == set(other) for one, other in zip(found, OTHER[kind], strict=True))
        else:
            assert found is OTHER[kind]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_batch_size_decides_nothing(count):
    images, labels = torch.rand(count, 3, 24, 32), torch.arange(count) % 5
    instances = targets("masks", lambda n: torch.zeros(n, 24, 32), [4] * count)
    for masks in (torch.zeros(4, 24, 32), torch.zeros(count, 12, 16), list(torch.zeros(count, 24, 32)), instances):
        with pytest.raises(ValueError, match=r"CutMix would leave the .* at \['mask'\]"):
            CutMix(5)({"image": images, "label": labels, "mask": masks})
    tokens = torch.zeros(count, 12).long()
    batch = (images, labels, tokens, [tokens, tokens + 1], torch.zeros(count, 6, 4), [torch.zeros(3, 4)] * count)
    assert CutMix(5)(batch)[2] is tokens


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "an array",
            r"the array of shape \(4, 24, 32\) at \['item'\] beside mixed images; wrap it in tv_tensors.Image",
        ),
        (
            "PIL images",
            r"the PIL image at \['item'\]\[0\] beside mixed images; .* as one tensor of the batch, to mix it",
        ),
        ("a mapping of another kind", r"the UserDict with images in it at \['item'\]"),
        (
            "4 wrapped instance masks",
            r"carry the Mask of shape \(4, 24, 32\) at \['item'\]\[0\]\['masks'\]: it belongs",
        ),
    ],
)
def test_the_error_says_what_it_is_and_what_to_do(kind, text):
    with pytest.raises(ValueError, match=text):
        CutMix(5)({"image": IMAGES, "label": torch.arange(4), "item": IMAGE_LIKE[kind]})


@pytest.mark.parametrize("mix", [CutMix, RandomMerge])
def test_a_batch_of_masks_moves_in_any_container(mix):
    pixels = torch.randint(0, 256, (4, 1, 24, 32), dtype=torch.uint8)
    made = mix(labels_getter=None, **({"p": 1.0} if mix is RandomMerge else {}))
    for batch in (
        Pair(tv_tensors.Image(pixels), tv_tensors.Mask(pixels[:, 0])),
        [pixels, [tv_tensors.Mask(pixels[:, 0])]],
    ):
        image, mask = made(batch)
        mask = mask[0] if isinstance(mask, list) else mask
        assert torch.equal(image.as_subclass(torch.Tensor)[:, 0], mask.as_subclass(torch.Tensor))


@pytest.mark.parametrize("mix", MIXES)
def test_the_images_are_the_first_tensor_of_their_rank(mix):
    batch = {"index": torch.arange(4), "row": torch.rand(4, 6), "image": IMAGES, "label": torch.arange(4)}
    made = MIXES[mix]()
    params = made.make_params(batch)
    mixed = made.apply(batch, params)
    assert torch.equal(mixed["image"], made.apply(IMAGES, params))
    assert mixed["index"] is batch["index"]
    assert mixed["row"] is batch["row"]


def test_sounds_leave_no_other_samples_behind():
    waves, labels = torch.randn(4, 4000), torch.arange(4)
    mix = BetweenClassAudioMix(5, 16_000)
    for item in (torch.randn(4, 4000), torch.randn(7, 4000), list(torch.randn(4, 4000)), torch.rand(4, 40, 25)):
        with pytest.raises(ValueError, match=r"BetweenClassAudioMix would leave the tensor of shape .* at \['item'\]"):
            mix({"wave": waves, "label": labels, "item": item})
    row = torch.rand(4, 12)
    assert mix({"wave": waves, "label": labels, "item": row})["item"] is row
