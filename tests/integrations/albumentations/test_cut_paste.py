"""Cut-outs pasted inside a Compose: boxes, label fields and masks stay aligned."""

import numpy as np
import pytest

A = pytest.importorskip("albumentations", reason="needs the extra albumentations")

from tests.integrations.albumentations.images import image  # noqa: E402
from tobias_aug.integrations.albumentations import TobiasCutPaste  # noqa: E402

BOXES = A.BboxParams(format="pascal_voc", label_fields=["labels", "ids"])


def cutout(number):
    cut = np.random.default_rng(number).integers(1, 256, (12, 10, 4), dtype=np.uint8)
    rows, columns = np.mgrid[:12, :10]
    cut[..., 3] = 255 * ((rows - 6) ** 2 + (columns - 5) ** 2 < 20)
    return {"image": cut, "labels": f"pasted {number}", "ids": 100 + number, "mask_id": 50 + number}


def sample():
    masks = np.zeros((3, 40, 60), dtype=np.uint8)
    masks[0, 2:20, 2:20] = masks[1, 5:35, 25:40] = masks[2, 22:38, 44:58] = 1
    boxes = [[2, 2, 20, 20], [25, 5, 40, 35], [44, 22, 58, 38]]
    return {"image": image((40, 60, 3)), "bboxes": boxes, "labels": ["a", "b", "a"], "ids": [1, 2, 3], "masks": masks}


def extents(mask):
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("seed", range(8))
def test_boxes_equal_masks_extents_and_fields_stay_aligned(seed, dtype):
    transform = A.Compose([TobiasCutPaste(count=(1, 4), p=1.0)], bbox_params=BOXES, seed=seed, strict=True)
    given = sample()
    given["image"] = given["image"] if dtype == "uint8" else (given["image"] / 255).astype("float32")
    semantic = np.zeros((40, 60), dtype=np.uint8)
    result = transform(**given, mask=semantic, tobias_metadata=[cutout(number) for number in range(3)])
    masks = np.stack(list(result["masks"]))
    assert len(masks) == len(result["bboxes"]) == len(result["labels"]) == len(result["ids"])
    own = [number for number, name in enumerate(result["labels"]) if not name.startswith("pasted")]
    assert own == list(range(len(own)))
    for mask, box, label, number in zip(masks, result["bboxes"], result["labels"], result["ids"], strict=True):
        np.testing.assert_allclose(box, extents(mask), atol=1e-3)
        assert label == {1: "a", 2: "b", 3: "a", 100: "pasted 0", 101: "pasted 1", 102: "pasted 2"}[int(number)]
        if number >= 100:
            assert (result["mask"][mask > 0] == number - 50).all()
    assert masks.sum(0).max() == 1
    assert result["image"].dtype == np.dtype(dtype)
    changed = (result["image"] != given["image"]).any(2)
    assert not (changed & ~masks[len(own) :].any(0)).any()
    assert changed.any()
    np.testing.assert_array_equal(given["masks"], sample()["masks"])


def test_a_pipeline_is_written_read_and_replayed():
    transform = A.Compose([TobiasCutPaste(count=(1, 2), p=1.0)], bbox_params=BOXES, seed=3)
    again = A.from_dict(A.to_dict(transform))
    again.set_random_seed(3)
    first, second = (each(**sample(), tobias_metadata=[cutout(0)]) for each in (transform, again))
    np.testing.assert_array_equal(first["image"], second["image"])
    assert first["labels"] == second["labels"]


@pytest.mark.parametrize(
    "changes, metadata, message",
    [
        ({}, [{"image": image((9, 9, 3))}], "cut-out 0 must be a dict with an RGBA 'image' of uint8, got uint8"),
        ({}, 3, "must be a list of cut-outs such as"),
        ({}, [], "there are no cut-outs to paste"),
        (
            {},
            [{"image": cutout(0)["image"], "label": 3}],
            "a cut-out has no 'labels', a label field; it has image, lab",
        ),
        ({"masks": np.zeros((2, 40, 60), np.uint8)}, [cutout(0)], "masks are one per box here, got 2 masks of 3 boxes"),
        ({"mask": np.zeros((40, 60), np.uint8)}, [{**cutout(0), "mask_id": None}], None),
    ],
)
def test_what_does_not_fit_is_rejected(changes, metadata, message):
    transform = A.Compose([TobiasCutPaste(count=(1, 1), p=1.0)], bbox_params=BOXES, seed=0)
    if message is None:
        metadata = [{name: value for name, value in metadata[0].items() if name != "mask_id"}]
        message = "the sample has a mask, so each cut-out needs a 'mask_id'"
    with pytest.raises((ValueError, TypeError), match=message):
        transform(**{**sample(), **changes}, tobias_metadata=metadata)
