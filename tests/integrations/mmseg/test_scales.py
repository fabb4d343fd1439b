"""The scale schedule: which factor when, and what it does to images, masks and padding."""

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import ScaleScheduleDataPreProcessor, ScaleScheduleHook

# isort: split

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.registry import HOOKS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image


def batch(*sizes):
    """Images and masks of these sizes; the mask is 1 where the image is bright."""
    inputs, samples = [], []
    for height, width in sizes:
        image = torch.zeros(3, height, width, dtype=torch.uint8)
        image[:, : height // 2, : width // 2] = 240
        inputs.append(image)
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=(image[:1] > 0).long())))
    return {"inputs": inputs, "data_samples": samples}


def test_the_paper_read_cumulatively():
    hook = ScaleScheduleHook()
    assert [hook.reduction(epoch) for epoch in range(9)] == [8, 8, 4, 4, 2, 2, 1, 1, 1]


def test_the_paper_read_as_lengths():
    hook = ScaleScheduleHook(reading="lengths")
    assert [hook.reduction(epoch) for epoch in range(14)] == [8] * 2 + [4] * 4 + [2] * 6 + [1] * 2


def test_any_milestones_and_factors():
    hook = HOOKS.build(dict(type="ScaleScheduleHook", milestones=[5], reductions=[3], by_epoch=False))
    assert [hook.reduction(step) for step in (0, 4, 5, 500)] == [3, 3, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reading": "both"}, 'reading must be "cumulative" or "lengths", got \'both\''),
        ({"milestones": (2, 4)}, r"one milestone a factor.*got \[2, 4\] for \[8, 4, 2\]"),
        ({"milestones": (4, 2, 6)}, "ascending for the cumulative reading"),
        ({"milestones": (2, 0, 6), "reading": "lengths"}, "one milestone a factor"),
        ({"reductions": (8, 4, 0)}, r"factors must be 1 or more, got \[8, 4, 0\]"),
    ],
)
def test_schedules_that_cannot_be_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        ScaleScheduleHook(**options)


def test_unreduced_it_is_the_hosts_preprocessor():
    options = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], bgr_to_rgb=True, size=(40, 64))
    ours = MODELS.build(dict(type="ScaleScheduleDataPreProcessor", **options))
    theirs = SegDataPreProcessor(**options)
    for training in (True, False):
        mine, plain = (each(batch((32, 48), (32, 48)), training) for each in (ours, theirs))
        assert torch.equal(mine["inputs"], plain["inputs"])
    assert mine["inputs"].shape == (2, 3, 32, 48)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_images_and_masks_shrink_together(factor):
    preprocessor = ScaleScheduleDataPreProcessor(size_divisor=1)
    preprocessor.reduction = factor
    given = preprocessor(batch((32, 64)), training=True)
    height, width = 32 // factor, 64 // factor
    assert given["inputs"].shape == (1, 3, height, width)
    mask = given["data_samples"][0].gt_sem_seg.data
    assert mask.dtype == torch.int64
    expected = torch.zeros(1, height, width, dtype=torch.int64)
    expected[:, : height // 2, : width // 2] = 1
    assert torch.equal(mask, expected)
    # Away from the edge, where antialiasing blends, an image keeps its values.
    torch.testing.assert_close(given["inputs"][0, :, 0, 0], torch.full((3,), 240.0))
    assert given["data_samples"][0].img_shape == (height, width)


def test_pixels_are_those_of_pillow():
    """Bilinear with antialiasing, to a rounding of the 8-bit result; and the nearest pixel."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 56), dtype=np.uint8)
    values = random.integers(0, 12, (40, 56), dtype=np.uint8)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(values)[None].long()))
    preprocessor = ScaleScheduleDataPreProcessor(size_divisor=1)
    preprocessor.reduction = 4
    given = preprocessor({"inputs": [torch.from_numpy(pixels)[None]], "data_samples": [sample]}, training=True)
    image = np.asarray(Image.fromarray(pixels).resize((14, 10), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(given["inputs"][0, 0].numpy() - image).max() <= 1
    mask = np.asarray(Image.fromarray(values).resize((14, 10), Image.Resampling.NEAREST))
    assert np.array_equal(given["data_samples"][0].gt_sem_seg.data[0].numpy(), mask)


def test_odd_sides_are_rounded_up_and_padding_follows():
    fixed = ScaleScheduleDataPreProcessor(size=(50, 70), seg_pad_val=255)
    fixed.reduction = 4
    given = fixed(batch((45, 61), (50, 70)), training=True)
    assert given["inputs"].shape == (2, 3, 13, 18)
    mask = given["data_samples"][0].gt_sem_seg.data
    assert mask.shape == (1, 13, 18)
    assert (mask[:, 12:] == 255).all()
    assert (mask[:, :, 16:] == 255).all()
    assert (mask[:, :12, :16] < 255).all()
    divided = ScaleScheduleDataPreProcessor(size_divisor=8)
    divided.reduction = 4
    assert divided(batch((45, 61), (50, 70)), training=True)["inputs"].shape == (2, 3, 16, 24)


def test_edges_and_depth_move_along_and_inference_sees_whole_images():
    data = batch((32, 48))
    for name in ("gt_edge_map", "gt_depth_map"):
        setattr(data["data_samples"][0], name, PixelData(data=torch.ones(1, 32, 48)))
    preprocessor = ScaleScheduleDataPreProcessor(size_divisor=1)
    preprocessor.reduction = 8
    sample = preprocessor(data, training=True)["data_samples"][0]
    assert sample.gt_edge_map.data.shape == sample.gt_depth_map.data.shape == (1, 4, 6)
    assert preprocessor(batch((32, 48)), training=False)["inputs"].shape == (1, 3, 32, 48)
