"""``tobias-aug env``: versions to paste into a report."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    *("tobias-aug", "torch", "torchvision", "numpy", "pillow", "pyarrow", "lightning", "ray", "pydensecrf2"),
    *("lightly", "albumentations", "detectron2", "mmcv", "mmcv-lite", "mmengine", "mmsegmentation"),
)


def env() -> None:
    """Print the versions of this package, of what it builds on and of the host libraries, to paste into a report."""
    import torch

    print(f"platform: {platform.platform()}")
    print(f"python: {platform.python_version()}")
    for name in PACKAGES:
        print(f"{name}: {_version(name)}")
    print(f"CUDA of torch: {torch.version.cuda or 'none'}")
    print(f"cuDNN: {torch.backends.cudnn.version() or 'none'}")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    print(f"GPUs: {', '.join(gpus) or 'none'}")
    print(f"CPU threads: {torch.get_num_threads()}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
