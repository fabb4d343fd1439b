"""Cut-outs of every source of masks; every object is written or listed with its reason."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cutouts.scenes import HEIGHT, OBJECTS, WIDTH, image, masks, write_coco, write_images
from tobias_aug import build_masks
from tobias_aug.class_maps import write_index_mask
from tobias_aug.cutouts import CutoutOptions, extract_cutouts, open_masks
from tobias_aug.cutouts.table import read_table
from tobias_aug.errors import ImageError, TobiasError

SMALL = {"min_side": 8, "min_area": 20, "min_largest_part": 0.0}


def extract(folder, source, **options):
    return extract_cutouts(folder / "images", source, folder / "out", CutoutOptions(**SMALL | options), quiet=True)


def rows(folder):
    return read_table(folder / "out")


@pytest.fixture
def scenes(tmp_path):
    write_images(tmp_path / "images")
    return tmp_path


@pytest.mark.parametrize("kind", ["polygon", "list", "string"])
def test_every_object_of_a_coco_file_is_written_or_listed(scenes, kind):
    result = extract(scenes, open_masks(write_coco(scenes / "coco.json", kind=kind)), max_occlusion=0.9)
    found = rows(scenes)
    assert [(row.source, row.instance) for row in found] == [(f"{n // 5}.png", str(n)) for n in range(10)]
    assert all((row.file is None) == (row.reason is not None) for row in found)
    assert [row.reason.partition(":")[0] if row.reason else None for row in found[:5]] == [
        *(None, None, None),
        *("truncated", "too small"),
    ]
    assert (result.written, result.rejected, result.failures) == (6, {"truncated": 2, "too small": 2}, [])
    for row, mask in zip(found[:3], masks(), strict=False):
        left, top, right, bottom = row.box
        cut = np.array(Image.open(scenes / "out" / row.file))
        assert cut.shape == (bottom - top, right - left, 4)
        inside = mask[top:bottom, left:right]
        np.testing.assert_array_equal(cut[..., 3], inside * 255)
        np.testing.assert_array_equal(cut[..., :3], image()[top:bottom, left:right] * inside[..., None])
        assert (row.label, row.area, row.width, row.height) == (row.label, mask.sum(), WIDTH, HEIGHT)


def test_an_object_that_others_cover_is_rejected_by_their_share_of_its_box(scenes):
    extract(scenes, open_masks(write_coco(scenes / "coco.json")), max_occlusion=0.3)
    hidden = rows(scenes)[1]
    # The dog's pixels end where the car begins, so the car covers 16 x 16 pixels of its box of 20 x 20.
    assert hidden.occlusion == pytest.approx(16 * 16 / 400)
    assert hidden.reason == "occluded: others cover 0.64 of its box, more than 0.3"


def test_classes_crowds_damaged_and_empty_masks_are_listed(scenes):
    changes = {
        "a0": {"iscrowd": 1},
        "a1": {"category_id": 99},
        "a2": {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "zz~"}},
        "a3": {"segmentation": []},
        "a4": {"segmentation": {"size": [10, 10], "counts": [100]}},
        "a5": {"segmentation": [[1, 1, 2, 2]]},
        "a6": {"category_id": 3, "segmentation": [[70, 70, 80, 70, 80, 80]]},
        "a7": {"id": 9},
    }
    coco = write_coco(scenes / "coco.json", **changes)
    extract(scenes, open_masks(coco), classes=("car",), max_occlusion=1.0, min_side=1, min_area=1)
    reasons = [row.reason for row in rows(scenes)]
    assert reasons[0] == "a crowd, not one object"
    assert reasons[1] == "unknown class: the file has no category 99"
    assert reasons[2].startswith("no mask: a damaged string of run lengths")
    assert reasons[3] == "no mask: no mask; take its box by --masks-format coco-boxes"
    assert reasons[4] == "no mask: the mask is 10 x 10, the image 40 x 60; resize them together"
    assert reasons[5] == "no mask: a polygon has three corners or more, as x, y, x, y, ...; got 4 values"
    assert reasons[6] == "empty: the mask has no pixel"
    assert reasons[7] is None
    assert reasons[8] == "not wanted: class dog"
    assert reasons[9] == "another object of this image has the same id"


def test_masks_of_another_size_than_the_image_are_listed(scenes):
    Image.fromarray(image()[:20]).save(scenes / "images" / "1.png")
    extract(scenes, open_masks(write_coco(scenes / "coco.json")))
    assert rows(scenes)[5].reason == "no mask: the masks are of 40 x 60, the image is 20 x 60; resize them together"


def test_images_without_masks_masks_without_images_and_broken_images_are_failures(scenes):
    coco = open_masks(write_coco(scenes / "coco.json", 3))
    Image.fromarray(image(5)).save(scenes / "images" / "more.png")
    (scenes / "images" / "1.png").write_bytes(b"broken")
    result = extract(scenes, coco, max_occlusion=1.0)
    reasons = {failure.key: failure.reason for failure in result.failures}
    assert sorted(reasons) == ["1", "2", "more"]
    assert reasons["2"] == "ImageError: there is no image of this name"
    assert reasons["more"] == "ValueError: coco.json lists no image of this name"
    found = rows(scenes)
    assert len(found) == 3 * 5 + 1
    assert all(row.reason.startswith("failed: ") for row in found if row.source in ("1.png", "2", "more.png"))
    # What failed is tried again.
    Image.fromarray(image(1)).save(scenes / "images" / "1.png")
    assert [failure.key for failure in extract(scenes, coco, max_occlusion=1.0).failures] == ["more", "2"]
    assert rows(scenes)[5].file == "1/5.png"


def test_a_box_is_a_mask_and_voc_and_coco_agree_on_it(scenes, tmp_path):
    (scenes / "xml").mkdir()
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for label, (left, top, right, bottom) in OBJECTS
    )
    for number in range(2):
        (scenes / "xml" / f"{number}.xml").write_text(f"<annotation>{objects}</annotation>")
    extract(scenes, open_masks(scenes / "xml"), max_occlusion=1.0)
    by_voc = rows(scenes)
    coco = open_masks(write_coco(scenes / "coco.json"), "coco-boxes")
    extract_cutouts(scenes / "images", coco, scenes / "two", CutoutOptions(**SMALL, max_occlusion=1.0), quiet=True)
    for first, second, (label, box) in zip(by_voc, read_table(scenes / "two"), OBJECTS, strict=False):
        assert first.box == second.box
        assert first.label == second.label == label
        assert tuple(first.box) == box


def test_the_components_of_a_class_are_objects(scenes):
    index = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    index[4:14, 4:14] = index[20:32, 30:44] = 2
    index[4:14, 30:44] = 1
    index[0:3] = 255
    for number in range(2):
        (scenes / "masks").mkdir(exist_ok=True)
        write_index_mask(scenes / "masks" / f"{number}.png", index)
    named = open_masks(scenes / "masks", classes=["car"], class_names=["sky", "road", "car"])
    extract(scenes, named, classes=("car",))
    assert [(row.instance, row.label, tuple(row.box)) for row in rows(scenes)[:2]] == [
        ("2-1", "car", (4, 4, 14, 14)),
        ("2-2", "car", (30, 20, 44, 32)),
    ]
    with pytest.raises(ValueError, match="semantic masks have no class 'bus'; it is sky, road, car"):
        open_masks(scenes / "masks", classes=["bus"], class_names=["sky", "road", "car"])
    with pytest.raises(ValueError, match="no class 'car'; give pixel values, or their names by --class-names"):
        open_masks(scenes / "masks", classes=["car"])
    short = open_masks(scenes / "masks", class_names=["sky", "road"])
    extract_cutouts(scenes / "images", short, scenes / "two", CutoutOptions(**SMALL), quiet=True)
    assert {row.reason for row in read_table(scenes / "two")} == {
        None,
        "unknown class: pixel value 2, and there are 2 names",
    }


def test_voc_and_cityscapes_instances(scenes):
    numbers = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    numbers[4:14, 4:14], numbers[20:32, 30:44] = 1, 2
    numbers[14, 4:14] = 255
    semantic = np.where(numbers == 1, 7, np.where(numbers == 2, 12, numbers)).astype(np.uint8)
    for folder, pixels in (("SegmentationObject", numbers), ("SegmentationClass", semantic)):
        (scenes / folder).mkdir()
        for number in range(2):
            write_index_mask(scenes / folder / f"{number}.png", pixels)
    extract(scenes, open_masks(scenes / "SegmentationObject"))
    assert [(row.label, tuple(row.box)) for row in rows(scenes)[:2]] == [
        ("car", (4, 4, 14, 14)),
        ("dog", (30, 20, 44, 32)),
    ]
    # Ids of more than 255 must not wrap around, and a group is no car.
    ids = np.where(numbers == 1, 26_001, np.where(numbers == 2, 26_257, 7)).astype(np.uint16)
    ids[2:12, 50:59] = 26
    (scenes / "city").mkdir()
    (scenes / "gtFine" / "ulm").mkdir(parents=True)
    for number in range(2):
        Image.fromarray(image(number)).save(scenes / "city" / f"ulm_{number}_leftImg8bit.png")
        Image.fromarray(ids).save(scenes / "gtFine" / "ulm" / f"ulm_{number}_gtFine_instanceIds.png")
    source = open_masks(scenes / "gtFine")
    with pytest.raises(ValueError, match="the masks have no class cars; there are person, rider, car"):
        extract_cutouts(scenes / "city", source, scenes / "two", CutoutOptions(classes=("cars",)), quiet=True)
    extract_cutouts(scenes / "city", source, scenes / "two", CutoutOptions(**SMALL), quiet=True)
    assert [(row.instance, row.label, row.reason) for row in read_table(scenes / "two")[:3]] == [
        ("26", "car", "a group, not one object"),
        ("26001", "car", None),
        ("26257", "car", None),
    ]


def test_the_cells_of_a_mask_table(scenes):
    table = build_masks(scenes / "images", "center-prior", scenes / "masks", workers=0, quiet=True)
    extract(scenes, open_masks(scenes / "masks", label="thing"))
    (first, _) = rows(scenes)
    assert (first.label, first.area) == ("thing", int(table["0.png"].sum()) * HEIGHT * WIDTH // 16)


def test_background_margin_and_size(scenes):
    coco = open_masks(write_coco(scenes / "coco.json"))
    extract(scenes, coco, background="green", margin=0.5, classes=("car",))
    first = rows(scenes)[0]
    assert tuple(first.crop) == (0, 0, 34, 28)
    cut = np.array(Image.open(scenes / "out" / first.file))
    assert (cut[~masks()[0][:28, :34]] == (51, 255, 51)).all()
    extract_cutouts(scenes / "images", coco, scenes / "two", CutoutOptions(**SMALL, size=32), quiet=True)
    square = np.array(Image.open(scenes / "two" / "0" / "0.png"))
    assert square.shape == (32, 32, 4)
    # 20 x 16 pixels in a square of 32: 32 x 26, with 3 rows of padding above.
    assert square[:, :, 3].any(1).nonzero()[0][[0, -1]].tolist() == [3, 28]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"background": "blue"}, "background is transparent, green, white or a color such as 255,0,128, got 'blue'"),
        ({"background": "1,2,300"}, "got '1,2,300'"),
        ({"max_occlusion": 2.0}, "max_occlusion is a share in \\[0, 1\\], got 2.0"),
        ({"margin": -1.0}, "margin is a share of the box's sides from 0 on, got -1.0"),
        ({"size": 0}, "size is a number of pixels from 1 on, got 0"),
    ],
)
def test_options_out_of_range_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        CutoutOptions(**options)


def test_what_is_no_source_of_masks_is_rejected(scenes):
    with pytest.raises(TobiasError, match="there are no masks at .*nowhere; give a COCO file"):
        open_masks(scenes / "nowhere")
    with pytest.raises(ValueError, match="unknown kind of masks 'yolo'; choose auto, coco, coco-boxes"):
        open_masks(scenes / "images", "yolo")
    with pytest.raises(TobiasError, match="VOC's instances need their classes, and there is no folder .*Segmentation"):
        open_masks(scenes / "images", "voc")
    with pytest.raises(TobiasError, match="holds no .xml files; give the folder of VOC's annotations"):
        open_masks(scenes / "images", "voc-boxes")
    with pytest.raises(TobiasError, match="holds no \\*_gtFine_instanceIds.png; give the folder gtFine"):
        open_masks(scenes / "images", "cityscapes")
    (scenes / "empty").mkdir()
    with pytest.raises(TobiasError, match="empty holds no .png files; give the folder of the masks"):
        open_masks(scenes / "empty")
    (scenes / "no.json").write_text("[]")
    with pytest.raises(TobiasError, match="no.json is no COCO file of instances .* it needs images, annotations and"):
        open_masks(scenes / "no.json")
    coco = json.loads(write_coco(scenes / "coco.json").read_text())
    coco["annotations"][3]["image_id"] = 77
    (scenes / "coco.json").write_text(json.dumps(coco))
    with pytest.raises(TobiasError, match="annotation 3 of .* is of image 77, which the file does not list; add the"):
        open_masks(scenes / "coco.json")


def test_other_settings_and_equal_names_are_rejected(scenes):
    coco = open_masks(write_coco(scenes / "coco.json"))
    extract(scenes, coco)
    with pytest.raises(TobiasError, match="options.margin is 0.0 there and 0.5 here"):
        extract(scenes, coco, margin=0.5)
    Image.fromarray(image()).save(scenes / "images" / "1.jpg")
    with pytest.raises(ImageError, match="have the same name; rename one"):
        extract(scenes, coco)


class Bright:
    """A localizer that sees what is bright."""

    input_size = 32

    def heatmaps(self, images):
        return torch.nn.functional.avg_pool2d(images.float().mean(1, keepdim=True), 2)[:, 0]

    def cell_scores(self, images, grid=4):
        return torch.nn.functional.adaptive_avg_pool2d(self.heatmaps(images)[:, None], grid)[:, 0]


def test_a_localizer_rejects_masks_that_it_does_not_agree_with_and_finds_the_object_in_a_box():
    from tobias_aug.cutouts import LocalizerOpinion, box_mask

    pixels = np.full((HEIGHT, WIDTH, 3), 20, dtype=np.uint8)
    pixels[10:30, 20:40] = 220
    opinion = LocalizerOpinion(Bright(), 0.5)
    score, reason = opinion.judge(pixels, box_mask((20, 10, 40, 30), (HEIGHT, WIDTH)), (20, 10, 40, 30))
    assert score > 0.8
    assert reason is None
    thin = box_mask((20, 10, 40, 14), (HEIGHT, WIDTH))
    score, reason = opinion.judge(pixels, thin, (20, 10, 40, 30))
    assert score < 0.5
    assert reason == f"localizer: agrees with {score:.2f} of the mask, less than 0.5"
    loose = box_mask((14, 6, 46, 34), (HEIGHT, WIDTH))
    found = opinion.refine(pixels, loose, (14, 6, 46, 34))
    true = box_mask((20, 10, 40, 30), (HEIGHT, WIDTH))
    assert (found & true).sum() / (found | true).sum() > 0.85
