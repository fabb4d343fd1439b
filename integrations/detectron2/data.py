"""Source and target side by side: datasets of images alone, and a loader of both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, DatasetFromList, DatasetMapper, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.build import filter_images_with_only_crowd_annotations, print_instances_class_histogram
from detectron2.data.detection_utils import check_metadata_consistency
from detectron2.utils import comm
from PIL import Image
from torch.utils.data import Dataset

from tobias_aug.images.decode import upright
from tobias_aug.images.sources import ImageFiles
from tobias_aug.training.loader import ReproducibleLoader

from .mapper import TobiasMapper, TranslatedMapper

Mapper = Callable[[dict[str, Any]], dict[str, Any]]
_OF_THE_IMAGE = ("file_name", "height", "width", "image_id")


def register_unlabeled_folder(name: str, folder: str | os.PathLike[str]) -> None:
    """Register the images below a folder, at any depth, as a dataset without annotations.

    Args:
        name: for ``DATASETS.TARGET``.
        folder: read when the dataset is first asked for.

    Raises:
        AssertionError: from detectron2, if there is a dataset of that name.

    Example:
        >>> register_unlabeled_folder("my_target", "photos")  # doctest: +SKIP
    """
    DatasetCatalog.register(name, lambda: unlabeled_images(folder))
    MetadataCatalog.get(name).set(image_root=os.fspath(folder))


def unlabeled_images(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The images below a folder as detectron2's dicts: file name, upright size and key, and nothing else."""
    files = ImageFiles(folder)
    dicts = []
    for key in files.keys:
        with Image.open(files.root / key) as image:
            # Only the header is read, but for files whose EXIF tag may turn them.
            width, height = upright(image).size if image.getexif().get(0x0112, 1) != 1 else image.size
        dicts.append({"file_name": str(files.root / key), "image_id": key, "height": height, "width": width})
    return dicts


class TwoDomainLoader:
    """Endless batches for training: source images, and beside them target images without labels.

    Each image's dict says its ``"domain"``. A batch depends on the seed and its number alone, whatever the number of
    workers, so that training continues from a checkpoint with the very batch it would have seen.

    Args:
        source: yields batches, each a list of a mapper's dicts.
        target: the same. Default: the source alone.

    Attributes:
        start: number of the batch that a new iterator begins with.
    """

    def __init__(self, source: ReproducibleLoader, target: ReproducibleLoader | None = None) -> None:
        self.source, self.target = source, target
        self.start = 0

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        loaders = {"source": self.source} | ({"target": self.target} if self.target is not None else {})
        for batches in zip(*(_endless(loader, self.start) for loader in loaders.values()), strict=True):
            domains = zip(loaders, batches, strict=True)
            yield [{**each, "domain": domain} for domain, batch in domains for each in batch]


def build_two_domain_train_loader(
    cfg: CfgNode, mapper: Mapper | None = None, target_mapper: Mapper | None = None
) -> TwoDomainLoader:
    """Build the loader that the configuration describes.

    The source is ``DATASETS.TRAIN``, ``SOLVER.IMS_PER_BATCH`` images per step over all processes; the target is
    ``DATASETS.TARGET``, ``SOLVER.TARGET_IMS_PER_BATCH`` images, or as many as of the source. Of the target's datasets
    the images are taken and nothing else, whatever they hold; none is needed for a detector that is not adapted.
    ``SEED`` fixes order and augmentation; below 0 it is drawn.

    Args:
        cfg: detectron2's, with this package's settings.
        mapper: of source images, which may find labels of its own. Default: :func:`build_source_mapper`'s, which reads
            ``annotations``.
        target_mapper: of target images. Default: detectron2's with the same augmentation.

    Raises:
        ValueError: if a source image has no ``annotations``, a dataset does not fill a batch, or ``DATALOADER`` asks
            for another order than a plain shuffle.
    """
    if cfg.DATALOADER.SAMPLER_TRAIN != "TrainingSampler":
        raise ValueError(
            f"DATALOADER.SAMPLER_TRAIN is {cfg.DATALOADER.SAMPLER_TRAIN!r}; the two-domain loader shuffles plainly, "
            "which is TrainingSampler"
        )
    seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    source = _source(cfg, needs_annotations=mapper is None)
    images = cfg.SOLVER.IMS_PER_BATCH
    loader = TwoDomainLoader(_loader(cfg, source, mapper or build_source_mapper(cfg), images, seed))
    if len(cfg.DATASETS.TARGET):
        dicts = get_detection_dataset_dicts(cfg.DATASETS.TARGET, filter_empty=False, check_consistency=False)
        target = [{name: each[name] for name in _OF_THE_IMAGE if name in each} for each in dicts]
        images = cfg.SOLVER.TARGET_IMS_PER_BATCH or images
        loader.target = _loader(cfg, target, target_mapper or DatasetMapper(cfg, True), images, seed + 1)
    return loader


def build_source_mapper(cfg: CfgNode) -> Mapper:
    """detectron2's mapper; with translated copies and patch merge, in that order, where ``INPUT`` asks for them."""
    mapper: Mapper = DatasetMapper(cfg, True)
    merge, copies = cfg.INPUT.TOBIAS, cfg.INPUT.TRANSLATED
    if merge.TABLE:
        mapper = TobiasMapper(mapper, merge.TABLE, merge.ROOT, p=merge.PROBABILITY, boxes=merge.BOXES)
    if copies.FOLDER:
        if merge.TABLE:
            raise ValueError("INPUT.TOBIAS and INPUT.TRANSLATED exclude each other: masks are of the images themselves")
        mapper = TranslatedMapper(mapper, copies.FOLDER, copies.ROOT, p=copies.PROBABILITY)
    return mapper


def _source(cfg: CfgNode, needs_annotations: bool) -> list[dict[str, Any]]:
    """The source's dicts, as detectron2 prepares them; it tells by the first alone whether there are annotations."""
    names = [cfg.DATASETS.TRAIN] if isinstance(cfg.DATASETS.TRAIN, str) else list(cfg.DATASETS.TRAIN)
    dicts = list(get_detection_dataset_dicts(names, filter_empty=False, check_consistency=False))
    bare = [each["file_name"] for each in dicts if "annotations" not in each]
    if bare and needs_annotations:
        raise ValueError(
            f"{len(bare)} of {len(dicts)} images of DATASETS.TRAIN have no annotations, {bare[0]!r} first; the source "
            "is labeled. Name datasets of images alone in DATASETS.TARGET, and give an image without objects "
            '"annotations": []'
        )
    if bare:
        return dicts
    images = len(dicts)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        dicts = filter_images_with_only_crowd_annotations(dicts)
    if not dicts:
        raise ValueError(f"none of the {images} images of DATASETS.TRAIN has an object that is no crowd")
    classes = [MetadataCatalog.get(name).get("thing_classes") for name in names]
    if all(classes):
        check_metadata_consistency("thing_classes", names)
        print_instances_class_histogram(dicts, classes[0])
    return dicts


def _loader(
    cfg: CfgNode, dicts: Sequence[Mapping[str, Any]], mapper: Mapper, images: int, seed: int
) -> ReproducibleLoader:
    world = comm.get_world_size()
    if images % world:
        raise ValueError(f"{images} images per step cannot be shared out over {world} processes")
    return ReproducibleLoader(
        _Mapped(dicts, mapper),
        images // world,
        collate_fn=list,
        seed=seed,
        workers=cfg.DATALOADER.NUM_WORKERS,
        rank=comm.get_rank(),
        world_size=world,
    )


class _Mapped(Dataset[dict[str, Any]]):
    def __init__(self, dicts: Sequence[Mapping[str, Any]], mapper: Mapper) -> None:
        # Serialized, so that workers share them.
        self.dicts, self.mapper = DatasetFromList(list(dicts), copy=False), mapper

    def __len__(self) -> int:
        return len(self.dicts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.mapper(self.dicts[index])


def _endless(loader: ReproducibleLoader, start: int) -> Iterator[list[dict[str, Any]]]:
    epoch, batch = divmod(start, len(loader))
    while True:
        yield from loader.epoch(epoch, batch)
        epoch, batch = epoch + 1, 0
