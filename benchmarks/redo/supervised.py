"""Figure 4: the same mask network trained on a few labeled images.

The paper names neither loss nor optimizer. Here it is cross entropy and Adam at 1e-3, batches of at most 20, a fixed
number of steps and no augmentation; the last step counts.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.redo.sets import Scored
from tobias_aug.images.decode import to_tensor
from tobias_aug.images.squares import square, to_signed
from tobias_aug.redo import MaskNetwork, ReDOOptions, ReDOResult

BATCH, RATE, IGNORED = 20, 1e-3, 255


def train_supervised(images: Scored, options: ReDOOptions, steps: int, seed: int) -> ReDOResult:
    """Train on all images given; the network's regions are the classes, and of two the object comes first."""
    torch.manual_seed(seed)
    network = MaskNetwork(options.regions, options.mask_width).to(memory_format=torch.channels_last)
    pixels = torch.stack([to_tensor(square(image, options.size)) for image, _ in images])
    truth = torch.stack([_squared(mask, options.size) for _, mask in images])
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    for _ in range(steps):
        chosen = torch.randint(len(images), (min(BATCH, len(images)),))
        logits = network.logits(to_signed(pixels[chosen]).contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        _loss(logits, truth[chosen]).backward()
        optimizer.step()
    order = [1, 0] if options.regions == 2 else list(range(options.regions))
    return ReDOResult(network.eval(), options, order, [], [], [])


def _loss(logits: Tensor, truth: Tensor) -> Tensor:
    if logits.shape[1] > 1:
        return F.cross_entropy(logits, truth, ignore_index=IGNORED)
    judged = truth != IGNORED
    return F.binary_cross_entropy_with_logits(logits[:, 0][judged], truth[judged].float())


def _squared(mask: np.ndarray, size: int) -> Tensor:
    """The part of a mask that a square shows, to the nearest pixel."""
    image = Image.fromarray(mask)
    scale = size / min(image.size)
    width, height = (max(size, round(scale * side)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.NEAREST).crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(resized)).long()
