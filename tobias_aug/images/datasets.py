"""The images of a dataset that the user already has, and what is said where its samples are something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tobias_aug.errors import ImageError, SampleError
from tobias_aug.images.decode import read_rgb, to_rgb, upright
from tobias_aug.images.keys import sample_key
from tobias_aug.images.named_bytes import NamedBytes

# What a mistake in code raises; from inside a decoder too, where it was called with something that is no image.
_MISTAKES = (TypeError, AttributeError, NameError, ImportError, NotImplementedError)
_DECODERS = ("PIL.", "torchvision.io.")


class DatasetImages:
    """The images of a user's dataset, each with the key that :func:`~tobias_aug.images.keys.sample_key` gives it.

    A sample is an image, a tuple or list that starts with one, or a mapping, as Hugging Face's datasets give them, with
    an entry "image" or a single PIL image. An image is a PIL image, a uint8 tensor of shape (3, height, width), or
    Hugging Face's undecoded ``{"bytes": ..., "path": ...}``. Reading raises

    * ``ImageError`` or ``OSError`` where this one image is missing (``None``) or damaged,
    * ``SampleError``, a ``TypeError``, where the sample is of the wrong sort, as after ``ToTensor``,
    * whatever the dataset's own code raises.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def key(self, index: int) -> str:
        return sample_key(self.dataset, index)

    def load(self, index: int, at_least: int | None = None) -> Image.Image | Tensor:
        with _damage_is_told(index):
            image = _image_in(self.dataset[index])
            if isinstance(image, Mapping) and image.keys() >= {"bytes", "path"}:
                return _undecoded(image, index, at_least)
            if image is None:
                raise ImageError(f"sample {index} of the dataset holds no image (None)")
            if isinstance(image, Image.Image) or _is_rgb(image):
                if 0 in (image.size if isinstance(image, Image.Image) else image.shape):
                    raise ImageError(f"sample {index} of the dataset is an image without pixels")
                return upright(to_rgb(image)) if isinstance(image, Image.Image) else image
        raise SampleError(
            f"expected PIL images or uint8 tensors of shape (3, height, width) from the dataset, got {_sort(image)}; "
            "masks are made before any augmentation: give the dataset without its transform"
        )


def _is_rgb(image: Any) -> bool:
    return isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3 and len(image) == 3


def _image_in(sample: Any) -> Any:
    if isinstance(sample, Mapping):
        if "image" in sample:
            return sample["image"]
        images = [value for value in sample.values() if isinstance(value, Image.Image)]
        return images[0] if len(images) == 1 else sample
    return sample[0] if isinstance(sample, (tuple, list)) and sample else sample


def _undecoded(image: Mapping[str, Any], index: int, at_least: int | None) -> Image.Image:
    if image["bytes"] is not None:
        return read_rgb(NamedBytes(image["bytes"], str(image["path"] or f"sample {index}")), at_least)
    if image["path"] is None:
        raise ImageError(f"sample {index} of the dataset holds neither bytes nor a path")
    return read_rgb(image["path"], at_least)


def _sort(image: Any) -> str:
    if isinstance(image, Tensor):
        return f"a tensor of {image.dtype}, {tuple(image.shape)}"
    if isinstance(image, Mapping):
        return f"{type(image).__name__} of {', '.join(map(str, image))}, none of them called image"
    if hasattr(image, "dtype") and hasattr(image, "shape"):
        return f"{type(image).__name__} of {image.dtype}, {tuple(image.shape)}"
    return type(image).__name__


@contextmanager
def _damage_is_told(index: int) -> Iterator[None]:
    """Raise what a decoder raises on a damaged file, which may be anything, as ``ImageError``."""
    try:
        yield
    except (OSError, ImageError, *_MISTAKES):
        raise
    except Exception as error:
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_globals.get("__name__", "").startswith(_DECODERS):
                raise ImageError(
                    f"sample {index} of the dataset cannot be decoded ({type(error).__name__}: {error})"
                ) from error
            trace = trace.tb_next
        raise
