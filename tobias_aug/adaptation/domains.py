"""Two domains side by side: a labeled source, and a target of images alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.training.loader import Loader


class UnlabeledImages(Dataset[Any]):
    """A dataset's images without its labels, so that no label of the target can reach a loss.

    Whatever else the dataset has (``targets``, ``samples``, ``classes``) is out of reach through this one. Evaluate on
    the dataset itself.

    Args:
        dataset: map-style; its samples are images, or tuples or dicts with an image among other things.
        image: index or key of the image in a sample.
        transform: applied to the image.

    Example:
        >>> from tobias_aug.adaptation import UnlabeledImages
        >>> UnlabeledImages([("image 0", 7), ("image 1", 3)])[1]
        'image 1'
    """

    def __init__(self, dataset: Any, image: int | str = 0, transform: Callable[[Any], Any] | None = None) -> None:
        self._dataset, self._transform = dataset, transform
        self._image: Any = image

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        sample: Any = self._dataset[index]
        if isinstance(sample, (tuple, list, dict)):
            sample = sample[self._image]
        return self._transform(sample) if self._transform else sample

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"UnlabeledImages has no {name!r}: a target set is images alone; evaluate on the labeled dataset itself"
        )


def images_alone(batch: Any) -> Tensor:
    """Return the batch if it is a tensor of images and nothing else.

    Raises:
        TypeError: if anything comes with the images.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import images_alone
        >>> images_alone(torch.zeros(4, 3, 8, 8)).shape
        torch.Size([4, 3, 8, 8])
    """
    if not isinstance(batch, Tensor):
        raise TypeError(
            f"a target batch is one tensor of images, got a {type(batch).__name__}; "
            "wrap the target's dataset in UnlabeledImages"
        )
    return batch


class DomainLoader:
    """Batches of (source images, source labels, target images) for :func:`~tobias_aug.training.loop.train`.

    An epoch is one of the source; the target goes through its own epochs beside it, however long they are.

    Args:
        source: yields images and labels; a ``ReproducibleLoader``, or anything with ``epoch(number, start)``.
        target: yields batches of images alone; likewise.

    Raises:
        TypeError: if one of them cannot start an epoch at any batch, as a plain ``DataLoader`` cannot.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import DomainLoader, UnlabeledImages
        >>> from tobias_aug.training import ReproducibleLoader
        >>> source, target = [(torch.zeros(1, 8, 8), 3)] * 6, UnlabeledImages([(torch.ones(1, 8, 8), 5)] * 4)
        >>> loader = DomainLoader(ReproducibleLoader(source, 2), ReproducibleLoader(target, 2))
        >>> [part.shape[0] for part in next(loader.epoch(0))]
        [2, 2, 2]
    """

    def __init__(self, source: Loader, target: Loader) -> None:
        for name, loader in (("source", source), ("target", target)):
            if not isinstance(loader, Loader):
                raise TypeError(
                    f"DomainLoader resumes in the middle of an epoch, which {name}'s {type(loader).__name__} cannot; "
                    "pass tobias_aug.training.loader.ReproducibleLoader(dataset, batch_size) instead"
                )
        self.source, self.target = source, target

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return len(self.source)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Iterate over an epoch's batches, from batch ``start`` on.

        Raises:
            TypeError: if a target batch is more than images.
        """
        target = self._target(number * len(self) + start)
        for images, labels in self.source.epoch(number, start):
            yield images, labels, images_alone(next(target))

    def _target(self, batch: int) -> Iterator[Any]:
        number, start = divmod(batch, len(self.target))
        while True:
            yield from self.target.epoch(number, start)
            number, start = number + 1, 0
