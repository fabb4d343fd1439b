"""The settings that this package adds to detectron2's, and the configurations it brings."""

from __future__ import annotations

from pathlib import Path

from detectron2.config import CfgNode, get_cfg

_CONFIGS = Path(__file__).parent / "configs"


def add_tobias_config(cfg: CfgNode) -> None:
    """Add this package's settings to a detectron2 configuration, in place, before merging a file that uses them."""
    cfg.MODEL.TOBIAS = CfgNode()
    # A ResNet's or VGG-16's checkpoint, in any layout that `tobias-aug export detectron2` reads; "" starts at random.
    cfg.MODEL.TOBIAS.CHECKPOINT = ""
    # Of the network in the checkpoint, where there are several; "" takes the first.
    cfg.MODEL.TOBIAS.PREFIX = ""
    # C4: one more normalization after res5, as in MoCo's protocol of detection.
    cfg.MODEL.TOBIAS.EXTRA_NORM = False

    cfg.MODEL.VGG = CfgNode()
    cfg.MODEL.VGG.OUT_FEATURES = ["relu5_3"]

    cfg.MODEL.DOMAIN = CfgNode()
    # Names in DA_HEADS_REGISTRY; none trains on the source alone.
    cfg.MODEL.DOMAIN.HEADS = []
    cfg.MODEL.DOMAIN.LOCAL = CfgNode()
    cfg.MODEL.DOMAIN.LOCAL.IN_FEATURE = "res2"
    cfg.MODEL.DOMAIN.LOCAL.WEIGHT = 1.0
    cfg.MODEL.DOMAIN.LOCAL.REVERSAL = 1.0
    cfg.MODEL.DOMAIN.LOCAL.CONTEXT = False
    # Of the weights at the start; 0 is torch's own start.
    cfg.MODEL.DOMAIN.LOCAL.STD = 0.01
    cfg.MODEL.DOMAIN.GLOBAL = CfgNode()
    cfg.MODEL.DOMAIN.GLOBAL.IN_FEATURE = "res4"
    cfg.MODEL.DOMAIN.GLOBAL.WEIGHT = 1.0
    cfg.MODEL.DOMAIN.GLOBAL.REVERSAL = 1.0
    cfg.MODEL.DOMAIN.GLOBAL.CONTEXT = False
    # "focal" or "exponential".
    cfg.MODEL.DOMAIN.GLOBAL.MODULATION = "focal"
    cfg.MODEL.DOMAIN.GLOBAL.GAMMA = 5.0
    cfg.MODEL.DOMAIN.GLOBAL.DROPOUT = 0.5
    cfg.MODEL.DOMAIN.DA_FASTER = CfgNode()
    cfg.MODEL.DOMAIN.DA_FASTER.IN_FEATURE = "res4"
    cfg.MODEL.DOMAIN.DA_FASTER.REVERSAL = 0.1
    cfg.MODEL.DOMAIN.DA_FASTER.IMAGE_WEIGHT = 1.0
    cfg.MODEL.DOMAIN.DA_FASTER.INSTANCE_WEIGHT = 1.0
    cfg.MODEL.DOMAIN.DA_FASTER.CONSISTENCY_WEIGHT = 0.1
    # The proposals of highest score that the instance level sees of each image.
    cfg.MODEL.DOMAIN.DA_FASTER.REGIONS = 128

    # Datasets whose images alone are read, whatever else they hold.
    cfg.DATASETS.TARGET = ()
    # 0: as many as of the source.
    cfg.SOLVER.TARGET_IMS_PER_BATCH = 0

    # Pixel-level adaptation: copies of the source images in the target's style, below FOLDER as the images below ROOT.
    cfg.INPUT.TRANSLATED = CfgNode()
    cfg.INPUT.TRANSLATED.FOLDER = ""
    cfg.INPUT.TRANSLATED.ROOT = ""
    cfg.INPUT.TRANSLATED.PROBABILITY = 1.0

    # Patch merge with the masks of TABLE, built from ROOT.
    cfg.INPUT.TOBIAS = CfgNode()
    cfg.INPUT.TOBIAS.TABLE = ""
    cfg.INPUT.TOBIAS.ROOT = ""
    cfg.INPUT.TOBIAS.PROBABILITY = 0.3
    # "reject" or "keep-center".
    cfg.INPUT.TOBIAS.BOXES = "reject"


def config_file(name: str) -> str:
    """Return the path of one of the package's configurations, such as "R50-C4-24k.yaml".

    Raises:
        ValueError: if there is none of that name, with the names that exist.
    """
    path = _CONFIGS / name
    if not path.is_file():
        known = ", ".join(sorted(file.name for file in _CONFIGS.iterdir() if file.suffix in (".yaml", ".py")))
        raise ValueError(f"no configuration {name!r}; there are {known}")
    return str(path)


def get_tobias_cfg(name: str | None = None) -> CfgNode:
    """Return detectron2's defaults with this package's settings and, if named, one of its configurations."""
    cfg = get_cfg()
    add_tobias_config(cfg)
    if name is not None:
        cfg.merge_from_file(config_file(name))
    return cfg
