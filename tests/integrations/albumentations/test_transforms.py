import io

import numpy as np
import pytest
import torch

A = pytest.importorskip("albumentations", reason="needs the extra albumentations")

from tests.integrations.albumentations.images import image  # noqa: E402
from tobias_aug import BorderContrast, half_mask  # noqa: E402
from tobias_aug.integrations.albumentations import TobiasBetweenClass, TobiasPatchMerge  # noqa: E402

RANDOM = np.random.default_rng(0)
LEFT = np.tile([True, True, False, False], (4, 1))
BOXES = A.BboxParams(format="pascal_voc", label_fields=["kinds"])


def applied(composed):
    """What the first transform drew."""
    return composed["applied_transforms"][0][1]


def merged_by_loops(own, given, cells):
    """Cell by cell, for sides that the grid divides."""
    result = own.copy()
    height, width = own.shape[0] // 4, own.shape[1] // 4
    for slot, cell in enumerate(cells.ravel()):
        if cell >= 0:
            (i, j), (k, m) = divmod(slot, 4), divmod(int(cell), 4)
            block = given[k * height : (k + 1) * height, m * width : (m + 1) * width]
            result[i * height : (i + 1) * height, j * width : (j + 1) * width] = block
    return result


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(40, 60, 3), (40, 60, 1), (40, 60), (40, 60, 5)])
def test_an_object_stays_and_the_rest_is_the_donors_background(shape, dtype):
    own, given = image(shape, dtype), image(shape, dtype, seed=1)
    before = own.copy(), given.copy()
    scores = np.random.default_rng(2).random((4, 4))
    transform = A.Compose([TobiasPatchMerge(p=1.0)], seed=3, strict=True, save_applied_params=True)
    sample = {"scores": LEFT, "donors": [{"image": given, "scores": scores}]}
    result = transform(image=own, tobias_metadata=sample)
    cells = applied(result)["cells"]
    np.testing.assert_array_equal(result["image"], merged_by_loops(own, given, cells))
    np.testing.assert_array_equal(cells < 0, LEFT)
    background = ~half_mask(torch.from_numpy(scores)).flatten()
    assert sorted(cells[cells >= 0].tolist()) == background.nonzero()[:, 0].tolist()
    assert applied(result)["ratio"] == 0.5
    assert result["image"].dtype == own.dtype
    np.testing.assert_array_equal(own, before[0])
    np.testing.assert_array_equal(given, before[1])


def test_masks_and_further_targets_move_with_their_pixels():
    own = {"image": image(), "mask": image((40, 60), seed=1), "depth": image((40, 60), "float32", seed=2)}
    given = {"image": image(seed=3), "mask": image((40, 60), seed=4), "depth": image((40, 60), "float32", seed=5)}
    masks, givens = image((2, 40, 60), seed=6), image((2, 40, 60), seed=7)
    transform = A.Compose(
        [TobiasPatchMerge(p=1.0)], additional_targets={"depth": "mask"}, strict=True, save_applied_params=True
    )
    result = transform(**own, masks=list(masks), tobias_metadata=[{**given, "masks": list(givens)}])
    cells = applied(result)["cells"]
    for key in own:
        np.testing.assert_array_equal(result[key], merged_by_loops(own[key], given[key], cells))
    for merged, mask, other in zip(result["masks"], masks, givens, strict=True):
        np.testing.assert_array_equal(merged, merged_by_loops(mask, other, cells))


def test_a_donor_of_another_size_is_resized_and_its_mask_keeps_its_labels():
    given = np.zeros((80, 120, 3), dtype=np.uint8)
    given[:, 60:] = 200
    mask = np.full((80, 120), 3, dtype=np.int64)
    mask[:, 60:] = 7
    transform = A.Compose([TobiasPatchMerge(p=1.0)], save_applied_params=True)
    own, empty = np.full((40, 60, 3), 100, dtype=np.uint8), np.zeros((40, 60), dtype=np.int64)
    result = transform(image=own, mask=empty, tobias_metadata=[{"image": given, "mask": mask}])
    assert set(np.unique(result["mask"])) <= {0, 3, 7}
    value = {0: 100, 3: 0, 7: 200}
    for label in np.unique(result["mask"]):
        assert (result["image"][result["mask"] == label] == value[int(label)]).all()


def test_scores_that_are_not_given_are_looked_up_in_the_image():
    own, given = image((64, 64, 3), seed=8), image((64, 64, 3), seed=9)

    def cells(**options):
        transform = A.Compose([TobiasPatchMerge(p=1.0, **options)], seed=0, save_applied_params=True)
        return applied(transform(image=own, tobias_metadata=[{"image": given}]))["cells"]

    seen = half_mask(BorderContrast().cell_scores(torch.from_numpy(own).permute(2, 0, 1)[None]))[0].numpy()
    np.testing.assert_array_equal(cells() < 0, seen)
    np.testing.assert_array_equal(cells(localizer=BorderContrast()), cells())
    center = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]], dtype=bool)
    np.testing.assert_array_equal(cells(localizer="center-prior") < 0, center)
    assert len({(cells(localizer=None) < 0).tobytes() for _ in range(1)} | {seen.tobytes(), center.tobytes()}) == 3


def test_boxes_stay_with_their_center_or_are_rejected():
    own, given = image(), image(seed=1)
    sample = {"scores": LEFT, "donors": [{"image": given}]}
    boxes, kinds = [[0, 0, 20, 20], [10, 10, 44, 30], [40, 0, 60, 20]], ["in", "over", "out"]
    transform = A.Compose([TobiasPatchMerge(p=1.0, boxes="keep-center")], bbox_params=BOXES, strict=True)
    result = transform(image=own, bboxes=boxes, kinds=kinds, tobias_metadata=sample)
    assert list(result["kinds"]) == ["in", "over"]
    np.testing.assert_allclose(result["bboxes"], [[0, 0, 20, 20], [10, 10, 30, 30]], atol=1e-4)
    none = transform(image=own, bboxes=[], kinds=[], tobias_metadata=sample)
    assert len(none["bboxes"]) == 0
    with pytest.raises(ValueError, match=r"got 'bboxes': objects in replaced cells are gone.*boxes=\"keep-center\""):
        A.Compose([TobiasPatchMerge(p=1.0)], bbox_params=BOXES)(
            image=own, bboxes=boxes, kinds=kinds, tobias_metadata=sample
        )


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(40, 60, 3), (40, 60)])
def test_an_image_and_its_label_are_mixed_in_one_ratio(shape, dtype):
    own, given = image(shape, dtype), image(shape, dtype, seed=1)
    transform = A.Compose([TobiasBetweenClass(5)], seed=1, strict=True, save_applied_params=True)
    result = transform(image=own, label=2, tobias_metadata=[{"image": given, "label": 4}])
    ratio = applied(result)["ratio"]
    expected = np.zeros(5)
    expected[[2, 4]] = ratio, 1 - ratio
    np.testing.assert_allclose(result["label"], expected, atol=1e-6)
    assert result["label"].dtype == np.float32
    mixed = ratio * own.astype(np.float64) + (1 - ratio) * given
    assert result["image"].dtype == own.dtype
    np.testing.assert_allclose(result["image"], mixed, atol=0.501 if dtype == "uint8" else 1e-6)


def test_plus_weighs_by_stds_and_wants_zero_mean_floats():
    own, given = image(dtype="float32") - 0.5, 3 * (image(dtype="float32", seed=1) - 0.5)
    transform = A.Compose([TobiasBetweenClass(5, plus=True)], seed=1, save_applied_params=True)
    result = transform(image=own, label=2, tobias_metadata={"image": given, "label": 4})
    r = applied(result)["ratio"]
    p = 1 / (1 + own.std() / given.std() * (1 - r) / r)
    np.testing.assert_allclose(result["image"], (p * own + (1 - p) * given) / np.hypot(p, 1 - p), atol=1e-5)
    with pytest.raises(ValueError, match="BC\\+ mixes zero-mean images, which torch.uint8 cannot hold"):
        transform(image=image(), label=2, tobias_metadata=[{"image": image(), "label": 4}])


def test_donors_are_of_another_class_and_all_of_them_get_their_turn():
    donors = [{"image": np.full((4, 4), n, dtype=np.uint8), "label": n // 2} for n in range(8)]
    transform = A.Compose([TobiasBetweenClass(4)], seed=0, save_applied_params=True)
    own = np.zeros((4, 4), dtype=np.uint8)
    seen = {
        int(applied(transform(image=own, label=1, tobias_metadata=donors))["donor"]["image"][0, 0]) for _ in range(99)
    }
    assert seen == {0, 1, 4, 5, 6, 7}
    called = {
        int(applied(transform(image=own, label=1, tobias_metadata=pick))["donor"]["image"][0, 0])
        for _ in range(60)
        for pick in [lambda random: donors[random.integers(8)]]
    }
    assert called == {0, 1, 4, 5, 6, 7}


def test_without_another_class_an_image_stays_or_is_rejected():
    own = image()
    alone = [{"image": image(seed=1), "label": 2}]
    result = A.Compose([TobiasBetweenClass(3)])(image=own, label=2, tobias_metadata=alone)
    np.testing.assert_array_equal(result["image"], own)
    assert result["label"].tolist() == [0, 0, 1]
    assert A.Compose([TobiasBetweenClass(3, p=0.0)])(image=own, label=0, tobias_metadata=alone)["label"].tolist() == [
        1, 0, 0,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no donor in tobias_metadata is of another class than 2"):
        A.Compose([TobiasBetweenClass(3, same_class="error")])(image=own, label=2, tobias_metadata=alone)


def test_what_cannot_be_carried_is_rejected_by_name():
    own, donor = image(), {"image": image(seed=1), "label": 1}
    points = A.KeypointParams(format="xy")
    for transform in (TobiasPatchMerge(p=1.0), TobiasBetweenClass(3)):
        composed = A.Compose([transform], keypoint_params=points, bbox_params=BOXES)
        with pytest.raises(ValueError, match="cannot carry 'keypoints': it would lie beside an image"):
            composed(image=own, label=0, keypoints=[(3, 4)], bboxes=[], kinds=[], tobias_metadata=[donor])
    for key, value in {"mask": own[..., 0], "masks": [own[..., 0]], "bboxes": [[0, 0, 4, 4]]}.items():
        composed = A.Compose([TobiasBetweenClass(3)], bbox_params=BOXES if key == "bboxes" else None)
        with pytest.raises(ValueError, match=f"BetweenClass cannot carry '{key}'.*What moves along: image, label"):
            composed(image=own, label=0, kinds=[1], tobias_metadata=[donor], **{key: value})
    with pytest.raises(ValueError, match="the sample has 'mask', its donor has not; add it to the donor"):
        TobiasPatchMerge(p=1.0)(image=own, mask=own[..., 0], tobias_metadata=[donor])
    with pytest.raises(ValueError, match="the sample has 2 'masks', its donor 0"):
        A.Compose([TobiasPatchMerge(p=1.0)])(image=own, masks=[own[..., 0]] * 2, tobias_metadata=[donor])


def test_errors_say_what_is_wrong():
    own, given = image(), image(seed=1)
    merge = TobiasPatchMerge(p=1.0)
    for metadata, error in [
        ([], "tobias_metadata holds no donors; give one at least"),
        ([given], "a donor in tobias_metadata must be a dict with an 'image', got ndarray"),
        ([{"photo": given}], "must be a dict with an 'image', got 'photo'"),
        ([{"image": given[..., 0]}], r"'image' is uint8 \(40, 60, 3\) in the sample and uint8 \(40, 60\) in its donor"),
        ([{"image": given / 255}], r"'image' is uint8 .* and float64 .*they may differ in height and width alone"),
        ([{"image": given, "scores": np.ones((3, 3))}], r"\(grid=4\) needs scores of shape \(4, 4\), got \(3, 3\)"),
        ([{"image": given, "scores": np.eye(4) > 0}], "a half mask keeps 8 cells, got one that keeps 4"),
    ]:
        with pytest.raises(ValueError, match=error):
            merge(image=own, tobias_metadata=metadata)
    with pytest.raises(TypeError, match="must be a list of donors .* or a callable that returns one, got int"):
        merge(image=own, tobias_metadata=5)
    with pytest.raises(ValueError, match="requires \\['tobias_metadata'\\]"):
        merge(image=own)
    with pytest.raises(ValueError, match="merges one 'image' at a time, got images, tobias_metadata"):
        merge(images=own[None], tobias_metadata=[{"image": given}])
    with pytest.raises(ValueError, match="no localizer takes images of 5 channels; give scores"):
        merge(image=image((40, 60, 5)), tobias_metadata=[{"image": image((40, 60, 5))}])
    with pytest.raises(ValueError, match="unknown localizer 'cam'; choose random-cnn, border-contrast, center-prior"):
        TobiasPatchMerge(localizer="cam")
    with pytest.raises(
        TypeError, match=r"expected a localizer, which has cell_scores\(images, grid\), .* got type|the class"
    ):
        TobiasPatchMerge(localizer=BorderContrast)
    with pytest.raises(ValueError, match="needs the image's label under 'label', got image, tobias_metadata"):
        TobiasBetweenClass(3)(image=own, tobias_metadata=[{"image": given, "label": 1}])
    for label in (3, -1, 0.5, [0.5, 0.5]):
        with pytest.raises(ValueError, match=r"a class index below 3 or a distribution of shape \(3,\)"):
            TobiasBetweenClass(3)(image=own, label=label, tobias_metadata=[{"image": given, "label": 1}])
    with pytest.raises(ValueError, match="a donor of TobiasBetweenClass needs a 'label', got image"):
        TobiasBetweenClass(3)(image=own, label=0, tobias_metadata=[{"image": given}])


def test_a_localizer_of_ones_own_works_but_is_not_written(tmp_path):
    transform = A.Compose([TobiasPatchMerge(localizer=BorderContrast(), p=1.0)])
    transform(image=image(), tobias_metadata=[{"image": image(seed=1)}])
    with pytest.raises(NotImplementedError, match="with a BorderContrast cannot be written to a file; name one of"):
        A.save(transform, io.StringIO())
