"""Second opinions on a cut-out: a detector that must find it, or a localizer that must agree with its mask."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision
from jaxtyping import Bool, UInt8
from torch import nn

from tobias_aug.cutouts.objects import GREEN, Box, grown, paint
from tobias_aug.errors import TobiasError
from tobias_aug.images.decode import resize_square
from tobias_aug.masks.localizer import as_localizer, identity, input_size
from tobias_aug.masks.regions import otsu_threshold
from tobias_aug.weights.checkpoints import load_weights
from tobias_aug.weights.seeding import weight_hash

CONTEXT = 0.25
"""A localizer looks at the object's box and this share of its sides around it."""


class DetectorOpinion:
    """Keep an object if a detector finds it, and nothing else, once all around it is painted.

    This is the filter of the car report: exactly one detection of any class above ``sure``, and it is of the object's
    class.

    Args:
        weights: a torchvision checkpoint of the detector.
        arch: name of the detector in ``torchvision.models``.
        sure: score above which a detection counts.
        label: the class that must be found. Default: the object's own.
        classes: names of the detector's classes, the background first. Default: COCO's 91.
        background: color that is painted around the object.
        device: where the detector runs.

    Raises:
        ValueError: if there is no such detector, or the weights do not fit.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        arch: str = "maskrcnn_resnet50_fpn",
        sure: float = 0.9,
        label: str | None = None,
        classes: Sequence[str] | None = None,
        background: tuple[int, int, int] = GREEN,
        device: str = "cpu",
    ) -> None:
        known = torchvision.models.list_models(module=torchvision.models.detection)
        if arch not in known:
            raise ValueError(f"torchvision has no detector {arch!r}; it has {', '.join(known)}")
        self.arch, self.sure, self.label, self.background, self.device = arch, sure, label, background, device
        self.classes = list(coco_classes() if classes is None else classes)
        network: nn.Module = torchvision.models.get_model(
            arch, weights=None, weights_backbone=None, num_classes=len(self.classes)
        )
        load_weights(network, os.fspath(weights))
        self.network = network.eval().to(device)

    @torch.inference_mode()
    def judge(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        mask: Bool[np.ndarray, "height width"],
        label: str,
    ) -> tuple[float, str | None]:
        """Return the detection's score, and why the object is rejected, if it is.

        Raises:
            TobiasError: if the detector does not know the class.
        """
        label = self.label or label
        if label not in self.classes:
            raise TobiasError(
                f"the detector has no class {label!r}; name one of its own by --detector-class: "
                f"{', '.join(self.classes)}"
            )
        pixels = torch.from_numpy(paint(image, mask, self.background)).permute(2, 0, 1).to(self.device) / 255
        (found,) = self.network([pixels])
        counts = found["scores"] > self.sure
        scores, names = found["scores"][counts].tolist(), [self.classes[n] for n in found["labels"][counts].tolist()]
        if len(scores) != 1:
            seen = f" ({', '.join(names)})" if names else ""
            best = float(found["scores"].max()) if len(found["scores"]) else 0.0
            return best, f"detector: {len(scores)} detections above {self.sure:g}{seen}, expected one"
        return scores[0], None if names[0] == label else f"detector: found {names[0]}, expected {label}"

    def settings(self) -> dict[str, Any]:
        """Return what decides the opinion."""
        return {
            "detector": self.arch,
            "weights": weight_hash(self.network),
            "sure": self.sure,
            "label": self.label,
            "classes": self.classes,
            "background": list(self.background),
        }


class LocalizerOpinion:
    """Keep an object if a localizer's foreground in its box and some context overlaps its mask.

    The score is the IoU of the mask and of what lies above Otsu's threshold of the heatmap, at the heatmap's
    resolution. It needs no download, and no class.

    Args:
        localizer: a localizer or its name.
        agreement: least IoU; ``None`` asks nothing.
    """

    def __init__(self, localizer: Any = "border-contrast", agreement: float | None = None) -> None:
        self.localizer, self.agreement = as_localizer(localizer), agreement

    def judge(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        mask: Bool[np.ndarray, "height width"],
        box: Box,
    ) -> tuple[float, str | None]:
        """Return the agreement, and why the object is rejected, if it is."""
        view, foreground = self._look(image, box)
        left, top, right, bottom = view
        own = torch.from_numpy(mask[top:bottom, left:right].astype(np.float32))[None, None]
        own = nn.functional.interpolate(own, foreground.shape, mode="area")[0, 0] >= 0.5
        union = int((own | foreground).sum())
        score = int((own & foreground).sum()) / union if union else 0.0
        if self.agreement is not None and score < self.agreement:
            return score, f"localizer: agrees with {score:.2f} of the mask, less than {self.agreement:g}"
        return score, None

    def refine(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        mask: Bool[np.ndarray, "height width"],
        box: Box,
    ) -> Bool[np.ndarray, "height width"]:
        """Return the part of the mask that the localizer takes for the object."""
        view, foreground = self._look(image, box)
        left, top, right, bottom = view
        shape = (bottom - top, right - left)
        soft = nn.functional.interpolate(foreground[None, None].float(), shape, mode="bilinear")[0, 0] >= 0.5
        refined = np.zeros_like(mask)
        refined[top:bottom, left:right] = soft.numpy()
        refined &= mask
        return refined

    def settings(self) -> dict[str, Any]:
        """Return what decides the opinion."""
        return {"localizer": identity(self.localizer), "agreement": self.agreement}

    @torch.inference_mode()
    def _look(self, image: np.ndarray, box: Box) -> tuple[Box, torch.Tensor]:
        view = grown(box, CONTEXT, (image.shape[0], image.shape[1]))
        left, top, right, bottom = view
        crop = torch.from_numpy(image[top:bottom, left:right].copy()).permute(2, 0, 1)[None]
        heatmap = self.localizer.heatmaps(resize_square(crop, input_size(self.localizer)))[0].float().cpu()
        return view, heatmap > otsu_threshold(heatmap.flatten())


def coco_classes() -> list[str]:
    """Return the names of COCO's 91 categories as torchvision's detectors number them, the background first."""
    weights = torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    names: list[str] = weights.meta["categories"]
    return names
