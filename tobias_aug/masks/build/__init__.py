"""Images and a localizer in, a mask table out: plan, compute, resume, ranks, Ray, verify."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.masks.build.builder import build_masks as build_masks
    from tobias_aug.masks.build.ray import RayEngine as RayEngine
    from tobias_aug.masks.build.verify import Verification as Verification
    from tobias_aug.masks.build.verify import verify_masks as verify_masks

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "builder": ["build_masks"],
        "ray": ["RayEngine"],
        "verify": ["Verification", "verify_masks"],
    },
)
