"""What albumentations' transforms of two images share: the other image is data, and nothing passes unnoticed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import albumentations as A
import numpy as np

Donor = Mapping[str, Any]
ATTEMPTS = 1000


class TwoImages(A.DualTransform):
    """A transform of an image by another, which arrives under ``metadata_key``.

    Each target of the sample meets the donor's item of the same name. What a subclass does not carry is rejected.
    """

    metadata_key: str

    @classmethod
    def get_class_fullname(cls) -> str:
        """Return the class's name in written pipelines: the package's own classes go by the package."""
        inside = cls.__module__.startswith(f"{__package__}.")
        name: str = f"{__package__}.{cls.__name__}" if inside else super().get_class_fullname()
        return name

    @property
    def targets_as_params(self) -> list[str]:
        return [self.metadata_key]

    @property
    def targets(self) -> dict[str, Callable[..., Any]]:
        return {**dict.fromkeys(super().targets, self._reject), **self._carried()}

    def _carried(self) -> dict[str, Callable[..., Any]]:
        raise NotImplementedError

    def _reject(self, value: Any, key: str, **params: Any) -> Any:
        if isinstance(value, (Sequence, np.ndarray)) and not len(value):
            return value
        raise ValueError(
            f"{type(self).__name__} cannot carry {key!r}: it would lie beside an image that it no longer describes; "
            f"leave it out of the sample. What moves along: {', '.join(self._carried())}"
        )

    def apply_with_params(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Pass every target its own name, to find the donor's item by."""
        result: dict[str, Any] = {}
        for key, value in kwargs.items():
            result |= super().apply_with_params({**params, "key": key}, **{key: value})
        return result

    def draw_donor(self, metadata: Any, fits: Callable[[Donor], bool] = lambda donor: True) -> Donor | None:
        """Draw a donor that fits, all of them equally likely; ``None`` where there is none."""
        donors = metadata["donors"] if isinstance(metadata, Mapping) and "donors" in metadata else metadata
        if callable(donors):
            arguments = (self.random_generator,) if inspect.signature(donors).parameters else ()
            drawn = (_check_donor(donors(*arguments), self.metadata_key) for _ in range(ATTEMPTS))
            return next((donor for donor in drawn if fits(donor)), None)
        if isinstance(donors, Mapping):
            donors = [donors]
        if not isinstance(donors, Sequence) or isinstance(donors, str):
            raise TypeError(
                f"{self.metadata_key} must be a list of donors such as {{'image': array}}, or a callable that "
                f"returns one, got {type(donors).__name__}"
            )
        if not donors:
            raise ValueError(f"{self.metadata_key} holds no donors; give one at least")
        fitting = [donor for donor in donors if fits(_check_donor(donor, self.metadata_key))]
        return fitting[self.random_generator.integers(len(fitting))] if fitting else None

    def given(self, own: np.ndarray, donor: Donor, key: str, casts: bool = False) -> np.ndarray:
        """Return the donor's counterpart of a target, checked.

        Args:
            own: the target.
            donor: holds the counterpart.
            key: the target's name.
            casts: take a dtype that the target's holds all values of: a ``Compose`` gives masks of several dtypes one.
        """
        if key not in donor:
            raise ValueError(
                f"the sample has {key!r}, its donor has not; add it to the donor, or leave it out of the sample"
            )
        given = np.asarray(donor[key])
        if casts and np.can_cast(given.dtype, own.dtype, "safe"):
            given = given.astype(own.dtype, copy=False)
        if given.dtype != own.dtype or given.ndim != own.ndim or given.shape[2:] != own.shape[2:]:
            raise ValueError(
                f"{key!r} is {own.dtype} {own.shape} in the sample and {given.dtype} {given.shape} in its donor; they "
                "may differ in height and width alone"
            )
        return given


def _check_donor(donor: Any, key: str) -> Donor:
    if not isinstance(donor, Mapping) or "image" not in donor:
        held = ", ".join(map(repr, donor)) if isinstance(donor, Mapping) else type(donor).__name__
        raise ValueError(f"a donor in {key} must be a dict with an 'image', got {held}")
    return donor
