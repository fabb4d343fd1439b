"""TobiasBetweenClass: an image mixed with one of another class, and its label alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import torch
from albumentations.core.transforms_interface import BaseTransformInitSchema
from albumentations.core.type_definitions import Targets

from tobias_aug.between_class.image_functional import mix_pairs
from tobias_aug.mixing.labels import check_same_class, soft_labels

from .arrays import resized
from .two_images import Donor, TwoImages


class TobiasBetweenClass(TwoImages):
    """Mix an image with one of another class, and its label in the same ratio r ~ U(0, 1).

    Between-class learning, see :class:`~tobias_aug.BetweenClassMix`. The image's label is read and returned under
    ``label_key``. It may be a class index or a distribution. It becomes a distribution (num_classes,) of float32, also
    where an image stays unmixed. The donors come under ``metadata_key``: a list of ``{"image", "label"}``, or a
    callable that returns one (it is given the transform's NumPy generator, if it takes an argument, and is called
    again until the class is another). Put this last: a donor is mixed in as it comes, after transforms of its own. The
    ratio and the donor are among the parameters that ``A.Compose(..., save_applied_params=True)`` returns.

    ``A.OneOf`` and ``A.SomeOf`` skip the transforms that they leave out. Inside them pass the label as a distribution,
    such as ``np.eye(num_classes)[index]``, so that it is one whichever transform is chosen.

    Args:
        num_classes: number of classes.
        plus: BC+ instead of BC, for zero-mean float images.
        same_class: what happens to an image that finds no donor of another class: "keep" leaves it as it is, "error"
            rejects it.
        interpolation: OpenCV's flag for donors of another size.
        label_key: name of the argument that carries the label.
        metadata_key: name of the argument that carries the donors.
        p: probability that an image is mixed.

    Targets:
        image, and the label

    Image types:
        uint8 (rounded), float32; any number of channels.

    Example:
        >>> import albumentations as A
        >>> import numpy as np
        >>> image, donor = np.zeros((2, 32, 32, 3), dtype=np.uint8)
        >>> transform = A.Compose([TobiasBetweenClass(num_classes=10)], seed=0, strict=True)
        >>> mixed = transform(image=image, label=3, tobias_metadata=[{"image": donor, "label": 7}])
        >>> mixed["label"].shape, mixed["label"].nonzero()[0].tolist()
        ((10,), [3, 7])
    """

    _targets = (Targets.IMAGE,)

    class InitSchema(BaseTransformInitSchema):
        num_classes: int
        plus: bool
        same_class: Literal["keep", "error"]
        interpolation: int
        label_key: str
        metadata_key: str

    def __init__(
        self,
        num_classes: int,
        plus: bool = False,
        same_class: Literal["keep", "error"] = "keep",
        interpolation: int = cv2.INTER_AREA,
        label_key: str = "label",
        metadata_key: str = "tobias_metadata",
        p: float = 1.0,
    ) -> None:
        self.label_key = label_key  # Asked for by the base class as it lists its targets.
        super().__init__(p=p)
        check_same_class(same_class)
        self.num_classes, self.plus, self.same_class = num_classes, plus, same_class
        self.interpolation, self.metadata_key = interpolation, metadata_key

    def _carried(self) -> dict[str, Callable[..., Any]]:
        return {"image": self.apply, self.label_key: self.apply_to_label}

    def __call__(self, *args: Any, force_apply: bool = False, **kwargs: Any) -> Any:
        if self.label_key not in kwargs:
            raise ValueError(
                f"TobiasBetweenClass needs the image's label under {self.label_key!r}, got {', '.join(kwargs)}"
            )
        if force_apply and np.ndim(kwargs[self.label_key]) == 0 and not self.replay_mode:
            raise ValueError(
                f"inside OneOf the label must be a distribution, such as np.eye({self.num_classes})[index], since a "
                f"class index would stay one where another transform is chosen, got {kwargs[self.label_key]!r}"
            )
        kwargs[self.label_key] = self._distribution(kwargs[self.label_key])
        return super().__call__(*args, force_apply=force_apply, **kwargs)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw a donor of another class, and the ratio."""
        own = data[self.label_key].argmax()
        donor = self.draw_donor(data[self.metadata_key], lambda donor: bool(self._label(donor).argmax() != own))
        if donor is None and self.same_class == "error":
            raise ValueError(
                f"no donor in {self.metadata_key} is of another class than {own}; give donors of several classes, or "
                'leave such an image unmixed with same_class="keep"'
            )
        ratio = self.random_generator.random()
        if donor is None:
            donor, ratio = data, 1.0
        return {"donor": {**donor, self.label_key: self._label(donor)}, "ratio": ratio}

    def _label(self, donor: Donor) -> np.ndarray:
        for key in (self.label_key, "label"):
            if key in donor:
                return self._distribution(donor[key])
        raise ValueError(f"a donor of TobiasBetweenClass needs a {self.label_key!r}, got {', '.join(donor)}")

    def _distribution(self, label: Any) -> np.ndarray:
        given = np.asarray(label)
        if given.ndim == 0 and np.issubdtype(given.dtype, np.integer) and 0 <= given < self.num_classes:
            one_hot: np.ndarray = np.eye(self.num_classes, dtype=np.float32)[given]
            return one_hot
        if given.shape == (self.num_classes,):
            return given.astype(np.float32)
        raise ValueError(
            f"a label must be a class index below {self.num_classes} or a distribution of shape "
            f"({self.num_classes},), got {label!r}"
        )

    def apply(self, img: np.ndarray, key: str, donor: Donor, ratio: float, **params: Any) -> np.ndarray:
        given = np.ascontiguousarray(resized(self.given(img, donor, key), img.shape[:2], self.interpolation))
        first, second = (torch.from_numpy(image)[None] for image in (img, given))
        mixed: np.ndarray = mix_pairs(first, second, torch.tensor([ratio]), self.plus)[0].numpy()
        return mixed

    def apply_to_label(self, label: np.ndarray, key: str, donor: Donor, ratio: float, **params: Any) -> np.ndarray:
        labels = torch.from_numpy(np.stack([label, donor[key]]))
        mixed: np.ndarray = soft_labels(labels, torch.tensor([1, 0]), torch.tensor([ratio, ratio]))[0].numpy()
        return mixed
