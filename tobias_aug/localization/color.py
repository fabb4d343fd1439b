"""CIE L*a*b*, in which equal distances look about equal."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# sRGB primaries to CIE XYZ, divided by the D65 white point: IEC 61966-2-1 and CIE 15.
_RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)


def rgb_to_lab(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Convert sRGB in [0, 1] to L* in [0, 100] and a*, b* of about [-128, 127], for the D65 white.

    Example:
        >>> import torch
        >>> from tobias_aug.localization.color import rgb_to_lab
        >>> rgb_to_lab(torch.ones(1, 3, 1, 1)).flatten().round().abs().tolist()
        [100.0, 0.0, 0.0]
    """
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055).clamp(min=0) ** 2.4, images / 12.92)
    matrix, white = (torch.tensor(values, dtype=images.dtype, device=images.device) for values in (_RGB_TO_XYZ, _WHITE))
    xyz = torch.einsum("ij,bjhw->bihw", matrix / white[:, None], linear)
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-12) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
