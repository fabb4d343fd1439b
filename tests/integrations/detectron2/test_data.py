"""Two domains side by side, the target without labels, and every batch of one seed the same again."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.data import DatasetCatalog

from tobias_aug.errors import ImageError
from tobias_aug.integrations.detectron2 import (
    TobiasMapper,
    TranslatedMapper,
    build_source_mapper,
    build_two_domain_train_loader,
    unlabeled_images,
)

DOMAINS = {"DATASETS__TRAIN": ("scenes",), "DATASETS__TARGET": ("plain",), "SEED": 3}


def first(loader, count):
    return list(itertools.islice(iter(loader), count))


def same(one, two):
    return one["file_name"] == two["file_name"] and torch.equal(one["image"], two["image"])


def test_an_unlabeled_folder_is_its_images_alone(scenes):
    dicts = DatasetCatalog.get("plain")
    assert [each["image_id"] for each in dicts] == [f"{number}.png" for number in range(6)]
    assert all(each.keys() == {"file_name", "image_id", "height", "width"} for each in dicts)
    assert [(each["width"], each["height"]) for each in dicts] == [(120 + 8 * number, 128) for number in range(6)]


def test_images_lie_as_their_exif_tag_says(tmp_path):
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / "a" / "turned.jpg", exif=exif)
    (turned,) = unlabeled_images(tmp_path)
    assert (turned["width"], turned["height"]) == (20, 30)
    assert turned["image_id"] == "a/turned.jpg"
    with pytest.raises(ImageError, match="does not exist; give a folder with images in it"):
        unlabeled_images(tmp_path / "b")


def test_a_batch_has_both_domains_and_no_label_of_the_target(scenes, small):
    cfg = small(**DOMAINS, SOLVER__IMS_PER_BATCH=2, SOLVER__TARGET_IMS_PER_BATCH=3)
    for each in first(build_two_domain_train_loader(cfg), 4):
        assert [image["domain"] for image in each] == ["source"] * 2 + ["target"] * 3
        assert all(len(image["instances"]) == 1 for image in each[:2])
        assert all("scenes" in image["file_name"] for image in each[:2])
        assert all(
            image.keys() == {"file_name", "image_id", "height", "width", "image", "domain"} for image in each[2:]
        )
        assert all("plain" in image["file_name"] for image in each[2:])


def test_labels_of_a_target_dataset_are_never_read(scenes, small):
    cfg = small(**{**DOMAINS, "DATASETS__TARGET": ("scenes",)})
    seen = []

    def spy(dataset_dict):
        seen.append(dataset_dict)
        return dataset_dict

    target = [batch[1] for batch in first(build_two_domain_train_loader(cfg, target_mapper=spy), 6)]
    assert len(seen) == 6
    assert all(each.keys() == {"file_name", "image_id", "height", "width"} for each in seen)
    assert {each["image_id"] for each in target} == set(range(6))


def test_an_epoch_holds_each_image_once_whatever_the_other_domains_size(scenes, small):
    batches = first(build_two_domain_train_loader(small(**DOMAINS)), 12)
    for index in (0, 1):
        names = [batch[index]["file_name"] for batch in batches]
        assert len(set(names[:6])) == len(set(names[6:])) == 6
        assert names[:6] != names[6:]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_continues_with_the_batch_it_would_have_given(scenes, small, workers):
    whole = first(build_two_domain_train_loader(small(**DOMAINS)), 10)
    later = build_two_domain_train_loader(small(**DOMAINS, DATALOADER__NUM_WORKERS=workers))
    later.start = 7
    for one, two in zip(whole[7:], first(later, 3), strict=True):
        assert all(same(*pair) for pair in zip(one, two, strict=True))
    other = first(build_two_domain_train_loader(small(**{**DOMAINS, "SEED": 4})), 10)
    assert not all(same(one[0], two[0]) for one, two in zip(whole, other, strict=True))


def test_the_source_alone(scenes, small):
    (batch,) = first(build_two_domain_train_loader(small(DATASETS__TRAIN=("scenes",), SEED=-1)), 1)
    assert [each["domain"] for each in batch] == ["source"]


def test_the_configured_mappers(scenes, small, brightness):
    import tobias_aug

    tobias_aug.build_masks(scenes / "scenes", brightness, scenes / "masks", workers=0, quiet=True)
    root = {"INPUT__TOBIAS__ROOT": str(scenes / "scenes"), "INPUT__TRANSLATED__ROOT": str(scenes / "scenes")}
    merge = {"INPUT__TOBIAS__TABLE": str(scenes / "masks"), "INPUT__TOBIAS__BOXES": "keep-center"}
    copies = {"INPUT__TRANSLATED__FOLDER": str(scenes / "plain"), "INPUT__TRANSLATED__PROBABILITY": 0.5}
    mapper = build_source_mapper(small(**root, **merge))
    assert isinstance(mapper, TobiasMapper)
    assert (mapper.p, mapper.boxes, len(mapper.table)) == (0.3, "keep-center", 6)
    mapper = build_source_mapper(small(**root, **copies))
    assert isinstance(mapper, TranslatedMapper)
    assert mapper.p == 0.5
    with pytest.raises(ValueError, match=r"INPUT\.TOBIAS and INPUT\.TRANSLATED exclude each other"):
        build_source_mapper(small(**root, **merge, **copies))


def test_what_cannot_be_loaded_says_why(scenes, small):
    with pytest.raises(ValueError, match=r"SAMPLER_TRAIN is 'RepeatFactorTrainingSampler'; the two-domain loader shuf"):
        build_two_domain_train_loader(small(**DOMAINS, DATALOADER__SAMPLER_TRAIN="RepeatFactorTrainingSampler"))
    with pytest.raises(ValueError, match="6 samples do not fill one batch of 7 on 1 processes; use a smaller batch"):
        build_two_domain_train_loader(small(**DOMAINS, SOLVER__TARGET_IMS_PER_BATCH=7))


@pytest.fixture
def registered(scenes):
    """Register dicts under a name that goes again."""
    names = []

    def register(name, dicts):
        DatasetCatalog.register(name, lambda: dicts)
        names.append(name)
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("bare", [[0], [3], [0, 1, 2, 3, 4, 5]], ids=str)
def test_a_source_image_without_annotations_is_named(scenes, small, registered, empty, bare):
    dicts = [
        {key: value for key, value in each.items() if key != "annotations" or number not in bare}
        for number, each in enumerate(DatasetCatalog.get("scenes"))
    ]
    options = {**DOMAINS, "DATASETS__TRAIN": (registered("mixed", dicts),)}
    cfg = small(**options, DATALOADER__FILTER_EMPTY_ANNOTATIONS=empty)
    message = rf"{len(bare)} of 6 images of DATASETS.TRAIN have no annotations, '.*{bare[0]}\.png' first; the source is"
    with pytest.raises(ValueError, match=message):
        build_two_domain_train_loader(cfg)
    # A mapper of one's own may find labels elsewhere.
    assert first(build_two_domain_train_loader(cfg, mapper=dict), 1)


def test_two_source_datasets_of_which_one_is_unlabeled(scenes, small):
    for names in (("scenes", "plain"), ("plain", "scenes"), ("plain",)):
        with pytest.raises(ValueError, match=rf"6 of {6 * len(names)} images of DATASETS.TRAIN have no annotations"):
            build_two_domain_train_loader(small(**{**DOMAINS, "DATASETS__TRAIN": names}))


@pytest.mark.parametrize("keep", [True, False])
def test_images_without_objects_are_labeled_all_the_same(scenes, small, registered, keep):
    dicts = [
        {**each, "annotations": each["annotations"][: number % 2]}
        for number, each in enumerate(DatasetCatalog.get("scenes"))
    ]
    options = {**DOMAINS, "DATASETS__TRAIN": (registered("some", dicts),)}
    loader = build_two_domain_train_loader(small(**options, DATALOADER__FILTER_EMPTY_ANNOTATIONS=not keep))
    boxes = [len(batch[0]["instances"]) for batch in first(loader, 6)]
    assert sum(boxes) == (3 if keep else 6)
    none = [{**each, "annotations": []} for each in dicts]
    with pytest.raises(ValueError, match="none of the 6 images of DATASETS.TRAIN has an object that is no crowd"):
        build_two_domain_train_loader(small(**{**DOMAINS, "DATASETS__TRAIN": (registered("none", none),)}))
