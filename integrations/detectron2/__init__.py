"""detectron2: backbones from self-supervised checkpoints, domain-adaptive detectors, patch merge in the mapper.

Importing this package registers all of it by name; detectron2 itself is neither copied nor changed.
"""

from importlib import import_module
from typing import Any

from .._hosts import require

require("detectron2", guide="https://detectron2.readthedocs.io/en/latest/tutorials/install.html")

from tobias_aug.runtime.renamed import UNLABELED, renamed_attribute  # noqa: E402

from . import roi_heads as _roi_heads  # noqa: E402, F401
from .backbones import VGG16  # noqa: E402
from .checkpointer import DomainCheckpointer  # noqa: E402
from .config import add_tobias_config, config_file, get_tobias_cfg  # noqa: E402
from .cut_paste import CutPasteMapper  # noqa: E402
from .data import (  # noqa: E402
    TwoDomainLoader,
    build_source_mapper,
    build_two_domain_train_loader,
    register_unlabeled_folder,
    unlabeled_images,
)
from .domain_heads import DA_HEADS_REGISTRY, DomainFeatures, DomainHead  # noqa: E402
from .evaluation import VOC07Evaluator  # noqa: E402
from .mapper import TobiasMapper, TranslatedMapper  # noqa: E402
from .meta_arch import DomainAdaptiveRCNN  # noqa: E402

_renamed = renamed_attribute(__name__, UNLABELED, globals())


def __getattr__(name: str) -> Any:
    # Imported when first used: `python -m` runs its module, which must not be loaded by then.
    return getattr(import_module(f"{__name__}.train"), name) if name == "Trainer" else _renamed(name)


__all__ = [
    "DA_HEADS_REGISTRY",
    "VGG16",
    "CutPasteMapper",
    "DomainAdaptiveRCNN",
    "DomainCheckpointer",
    "DomainFeatures",
    "DomainHead",
    "TobiasMapper",
    "Trainer",
    "TranslatedMapper",
    "TwoDomainLoader",
    "VOC07Evaluator",
    "add_tobias_config",
    "build_source_mapper",
    "build_two_domain_train_loader",
    "config_file",
    "get_tobias_cfg",
    "register_unlabeled_folder",
    "unlabeled_images",
]
