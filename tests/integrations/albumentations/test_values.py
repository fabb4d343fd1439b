"""The albumentations adapters over dtypes, ranges, sizes and empty targets."""

import numpy as np
import pytest
import torch

A = pytest.importorskip("albumentations", reason="needs the extra albumentations")

from tobias_aug import BorderContrast  # noqa: E402
from tobias_aug.integrations.albumentations import TobiasBetweenClass, TobiasPatchMerge  # noqa: E402

DTYPES = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
]
HALVES = np.tile([True, True, False, False], (4, 1))


def array(dtype, shape=(40, 60, 3), seed=0):
    values = np.random.default_rng(seed).random(shape)
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    return values > 0.5 if dtype == "bool" else (values * 100).astype(dtype)


def merged(own, donor, **targets):
    sample = {"scores": HALVES, "donors": [donor]}
    return A.Compose([TobiasPatchMerge(p=1.0)], seed=0)(image=own, tobias_metadata=sample, **targets)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(80, 120, 3), (40, 60, 3), (20, 33, 3), (7, 90, 3)])
def test_donors_of_any_dtype_and_size_are_brought_to_the_image(dtype, shape):
    own, other = array(dtype), np.full(shape, 1 if dtype == "bool" else 77, dtype=dtype)
    result = merged(own, {"image": other, "scores": HALVES})["image"]
    assert result.dtype == own.dtype
    np.testing.assert_array_equal(result[:, :30], own[:, :30])
    # OpenCV's weights are float32.
    np.testing.assert_allclose(result[:, 30:], other.flat[0], rtol=1e-6 if dtype == "float64" else 0)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "int8", "float16"])
def test_a_resize_is_opencvs_own_rounded(dtype):
    own, other = array(dtype), array(dtype, (80, 120, 3), seed=1)
    wide = merged(own.astype(np.float64), {"image": other.astype(np.float64), "scores": HALVES})["image"]
    found = merged(own, {"image": other, "scores": HALVES})["image"]
    exact = wide.astype(dtype) if dtype == "float16" else np.rint(wide)
    np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", "float64"])
def test_between_class_takes_donors_of_any_size(dtype):
    transform = A.Compose([TobiasBetweenClass(3)], seed=0)
    result = transform(
        image=np.full((40, 60, 3), 9, dtype=dtype),
        label=0,
        tobias_metadata=[{"image": np.full((50, 70, 3), 9, dtype=dtype), "label": 1}],
    )
    assert result["image"].dtype == np.dtype(dtype)
    np.testing.assert_allclose(result["image"].astype(float), 9, atol=1e-2)


def test_floats_outside_the_unit_interval_are_rejected_before_they_are_resized():
    own = array("uint8", (90, 90, 3))
    normal = ((own / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)
    look = TobiasPatchMerge()._localized
    expected = look(own, BorderContrast())
    assert torch.equal(look((own / 255).astype(np.float32), BorderContrast()), expected)
    transform = TobiasPatchMerge(p=1.0)
    for wrong in (normal, own.astype(np.float32), (own / 255 - 1e-3).astype(np.float64)):
        with pytest.raises(ValueError, match=r"float images must lie in \[0, 1\], got \["):
            transform(image=wrong, tobias_metadata=[{"image": wrong}])
        with pytest.raises(ValueError, match=r"float images must lie in \[0, 1\], got \["):
            A.Compose([A.Normalize(), transform])(image=own, tobias_metadata=[{"image": normal}])
        # With scores nothing is looked at.
        both = {"scores": HALVES, "donors": [{"image": wrong, "scores": HALVES}]}
        assert transform(image=wrong, tobias_metadata=both)["image"].dtype == wrong.dtype
    bright = np.where(own > 50, np.nan, 0.5).astype(np.float32)
    with pytest.raises(ValueError, match="the images hold NaN"):
        transform(image=bright, tobias_metadata=[{"image": bright}])
    with pytest.raises(ValueError, match="expected uint8 or float images, got torch.int32"):
        transform(image=own.astype(np.int32), tobias_metadata=[{"image": own.astype(np.int32)}])


@pytest.mark.parametrize(
    ("own", "donor"),
    [(["uint8", "int32"], ["uint8", "int32"]), (["int32", "uint8"], ["uint8", "uint8"]), (["uint8"] * 2, ["bool"] * 2)],
)
@pytest.mark.parametrize("composed", [True, False])
def test_masks_of_several_dtypes_meet_those_of_the_donor(own, donor, composed):
    given = {"image": array("uint8", seed=1), "scores": HALVES}
    masks = [np.full((40, 60), n + 1, dtype=dtype) for n, dtype in enumerate(own)]
    given["masks"] = [np.full((40, 60), 1, dtype=dtype) for dtype in donor]
    transform = TobiasPatchMerge(p=1.0)
    transform = A.Compose([transform]) if composed else transform
    result = transform(
        image=array("uint8"), masks=masks, tobias_metadata={"scores": HALVES, "donors": [given]}
    )["masks"]  # fmt: skip
    for n, mask in enumerate(result):
        assert (mask[:, :30] == n + 1).all()
        assert (mask[:, 30:] == 1).all()


def test_a_donors_mask_of_more_values_than_the_samples_holds_is_rejected():
    donor = {"image": array("uint8"), "scores": HALVES, "mask": np.zeros((40, 60), dtype=np.int64)}
    with pytest.raises(ValueError, match=r"'mask' is uint8 \(40, 60\) in the sample and int64 \(40, 60\) in its donor"):
        merged(array("uint8"), donor, mask=np.zeros((40, 60), dtype=np.uint8))


@pytest.mark.parametrize("make", [lambda: TobiasPatchMerge(p=1.0), lambda: TobiasBetweenClass(3)])
def test_empty_targets_pass_since_nothing_is_there(make):
    composed = A.Compose(
        [make()],
        bbox_params=A.BboxParams(format="pascal_voc", label_fields=["kinds"]),
        keypoint_params=A.KeypointParams(format="xy"),
    )
    donor = {"image": array("uint8", seed=1), "label": 1}
    result = composed(
        image=array("uint8"), label=0, bboxes=[], kinds=[], keypoints=[], masks=[], tobias_metadata=[donor]
    )
    assert [len(result[key]) for key in ("bboxes", "keypoints", "masks")] == [0, 0, 0]
    result = composed(
        image=array("uint8"),
        label=0,
        bboxes=np.zeros((0, 4)),
        kinds=[],
        keypoints=np.zeros((0, 2)),
        tobias_metadata=[donor],
    )
    assert [len(result[key]) for key in ("bboxes", "keypoints")] == [0, 0]
    with pytest.raises(ValueError, match="cannot carry 'keypoints'"):
        composed(image=array("uint8"), label=0, bboxes=[], kinds=[], keypoints=[(1, 1)], tobias_metadata=[donor])


@pytest.mark.parametrize("shape", [(3, 3, 3), (1, 1, 3), (1, 500, 3), (60, 2, 3), (3, 9)])
def test_an_image_with_fewer_pixels_than_cells_stays_as_it_is(shape):
    own = array("uint8", shape)
    transform = A.Compose(
        [TobiasPatchMerge(p=1.0, boxes="keep-center")],
        bbox_params=A.BboxParams(format="albumentations", label_fields=["kinds"]),
        save_applied_params=True,
    )
    mask = np.arange(own.shape[0] * own.shape[1], dtype=np.int32).reshape(own.shape[:2])
    result = transform(
        image=own, mask=mask, bboxes=[[0, 0, 1, 1]], kinds=[1], tobias_metadata=[{"image": array("uint8", (40, 60, 3))}]
    )
    np.testing.assert_array_equal(result["image"], own)
    np.testing.assert_array_equal(result["mask"], mask)
    assert len(result["bboxes"]) == 1
    assert result["applied_transforms"][0][1]["ratio"] == 1.0
    large = array("uint8", (40, 60, 3) if own.ndim == 3 else (40, 60))
    assert merged(large, {"image": own})["image"].shape == large.shape  # And serves as a donor.


@pytest.mark.parametrize("container", [A.OneOf, lambda transforms, p: A.SomeOf(transforms, n=1, p=p)])
def test_labels_are_distributions_whichever_transform_is_chosen(container):
    transform = A.Compose([container([TobiasBetweenClass(3), A.NoOp(p=1.0)], p=1.0)], seed=0)
    donors = [{"image": array("uint8", seed=1), "label": 1}]
    labels = [
        transform(image=array("uint8"), label=np.eye(3, dtype=np.float32)[0], tobias_metadata=donors)["label"]
        for _ in range(20)
    ]
    assert {(label.shape, label.dtype.name) for label in labels} == {((3,), "float32")}
    assert {float(label[0]) == 1.0 for label in labels} == {True, False}


def test_one_of_rejects_a_class_index_beside_distributions():
    transform = A.Compose([A.OneOf([TobiasBetweenClass(3), TobiasBetweenClass(3, plus=True)], p=1.0)])
    with pytest.raises(
        ValueError, match=r"inside OneOf the label must be a distribution, such as np.eye\(3\)\[index\]"
    ):
        transform(image=array("float32"), label=0, tobias_metadata=[{"image": array("float32"), "label": 1}])
