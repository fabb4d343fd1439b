"""mmsegmentation: training on pseudo masks, scale scheduling, ResNet-38 with DeepLab-v1, and adaptation by MCD and ADR.

Importing this makes mmseg importable on mmcv-lite (:func:`enable_mmcv_lite`), lets checkpoints resume on torch 2.6 and
later (:func:`allow_checkpoints`), and registers everything here by name. In a configuration file::

    custom_imports = dict(imports=["tobias_aug.integrations.mmseg"])

Needs the extra ``mmseg``.
"""

from pathlib import Path

from .mmcv_lite import enable_mmcv_lite

enable_mmcv_lite()

from .checkpoints import allow_checkpoints  # noqa: E402

allow_checkpoints()

from .cut_paste import CutPasteObjects  # noqa: E402
from .dataset import TobiasPseudoLabelDataset  # noqa: E402
from .deeplab_v1 import DeepLabV1Head  # noqa: E402
from .discrepancy import ADRSegmentor, MCDSegmentor  # noqa: E402
from .fog import FogAndColor  # noqa: E402
from .loading import LoadPseudoLabel  # noqa: E402
from .redo import RedoMasks  # noqa: E402
from .scale_schedule import (  # noqa: E402
    ScaleScheduleDataPreProcessor,
    ScaleScheduleHook,
)
from .source_target import SourceTargetDataset, SourceTargetSampler  # noqa: E402
from .two_optimizers import GeneratorClassifiersConstructor  # noqa: E402
from .wide_resnet import WideResNet38  # noqa: E402

__all__ = [
    "ADRSegmentor",
    "CutPasteObjects",
    "DeepLabV1Head",
    "FogAndColor",
    "GeneratorClassifiersConstructor",
    "LoadPseudoLabel",
    "MCDSegmentor",
    "RedoMasks",
    "ScaleScheduleDataPreProcessor",
    "ScaleScheduleHook",
    "SourceTargetDataset",
    "SourceTargetSampler",
    "TobiasPseudoLabelDataset",
    "WideResNet38",
    "allow_checkpoints",
    "config_path",
    "enable_mmcv_lite",
]


def config_path(name: str) -> str:
    """Return the path of a configuration of this package, for ``Config.fromfile`` and mmseg's own tools.

    Raises:
        ValueError: if there is none of that name, with the names that exist.

    Example:
        >>> config_path("camvid240")  # doctest: +SKIP
        '.../integrations/mmseg/configs/camvid240.py'
    """
    folder = Path(__file__).parent / "configs"
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if name not in known:
        raise ValueError(f"no configuration {name!r}; there are {', '.join(known)}")
    return str(folder / f"{name}.py")
