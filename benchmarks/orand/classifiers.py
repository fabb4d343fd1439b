"""Clearly different classifiers, trained from scratch on a folder of classes: a ResNet-18, a small ViT, a plain CNN.

The CNNs see small crops, which is cheap, and larger images afterwards, which suits them better than those they were
trained on (Touvron et al., 2019). The ViT is torchvision's with a convolutional stem, without which it learns little
from ten thousand images; it takes 128 pixels always. Without a GPU the plain CNN is the cheaper second classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import ConvStemConfig

from tobias_aug.images import ImageFiles, normalize, resize_square, to_tensor, to_unit

SIDE = 128


def small_vit(classes: int) -> VisionTransformer:
    """A ViT of six layers, 192 wide, on 8 × 8 patches of 16 pixels."""
    stem = [ConvStemConfig(channels, 3, 2) for channels in (24, 48, 96, 192)]
    return VisionTransformer(
        SIDE, 16, num_layers=6, num_heads=3, hidden_dim=192, mlp_dim=768, num_classes=classes, conv_stem_configs=stem
    )


def plain_cnn(classes: int) -> nn.Sequential:
    """Six convolutions of 3 × 3 with batch normalization, pooled after the first four; then global average pooling."""
    layers: list[nn.Module] = []
    widths = (3, 32, 64, 128, 256, 256, 256)
    for number, (before, after) in enumerate(pairwise(widths)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if number < 4 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda classes: models.resnet18(num_classes=classes),
    "vit": small_vit,
    "cnn": plain_cnn,
}
CROPS = {"resnet18": 96, "vit": SIDE, "cnn": 64}


class Images:
    """A folder of classes in memory: uint8 of shape (n, 3, 128, 128), and the number of each one's class.

    Images of another size are resized.

    Args:
        folder: one folder per class.
        without: stems of file names to leave out.
    """

    def __init__(self, folder: Path, without: Iterable[str] = ()) -> None:
        files, left_out = ImageFiles(folder), set(without)
        self.classes = files.classes
        chosen = [index for index in range(len(files)) if Path(files.key(index)).stem not in left_out]
        self.keys = [files.key(index) for index in chosen]
        self.images = torch.stack([resize_square(to_tensor(files.load(index)), SIDE) for index in chosen])
        self.labels = torch.tensor([files.target(index) for index in chosen])


class RandomCrops:
    """Batches of random crops and flips, drawn from (seed, epoch, number of the batch) alone.

    A crop covers 35 to 100 % of an image, at 3/4 to 4/3 of its aspect ratio; a batch is cut in one call.
    """

    def __init__(self, dataset: Images, side: int, batch_size: int, seed: int) -> None:
        self.dataset, self.side, self.batch_size, self.seed = dataset, side, batch_size, seed

    def __len__(self) -> int:
        return len(self.dataset.images) // self.batch_size

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        order = np.random.default_rng([self.seed, number]).permutation(len(self.dataset.images))
        for batch in range(start, len(self)):
            chosen = torch.from_numpy(order[batch * self.batch_size : (batch + 1) * self.batch_size])
            draw = np.random.SeedSequence([self.seed, number, batch]).generate_state(1, np.uint32)
            images = crop(to_unit(self.dataset.images[chosen]), self.side, torch.Generator().manual_seed(int(draw[0])))
            yield normalize(images), self.dataset.labels[chosen]


def crop(images: Tensor, side: int, random: torch.Generator) -> Tensor:
    """Cut a random window out of each image, flip every second one, and bring it to ``side`` × ``side`` pixels."""
    count = len(images)
    area = torch.empty(count).uniform_(0.35, 1, generator=random)
    aspect = torch.empty(count).uniform_(-1, 1, generator=random).mul(np.log(4 / 3)).exp()
    width, height = ((area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1))
    left, top = (torch.empty(count).uniform_(-1, 1, generator=random) for _ in range(2))
    flip = torch.randint(2, (count,), generator=random) * 2 - 1
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width * flip, (1 - width) * left
    theta[:, 1, 1], theta[:, 1, 2] = height, (1 - height) * top
    grid = nn.functional.affine_grid(theta, [*images.shape[:2], side, side], align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False, padding_mode="border")


class ClassifierStep:
    """Forward, backward and the schedule of one step: warm-up over a twentieth, then a cosine to zero."""

    def __init__(self, fabric: Any, network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        self.fabric, self.steps = fabric, steps
        self.network, self.optimizer = fabric.setup(network, optimizer)
        warm = max(1, steps // 20)

        def rate(step: int) -> float:
            return min(1.0, (step + 1) / warm) * 0.5 * (1 + float(np.cos(np.pi * min(1, step / steps))))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        self.state = {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}

    def __call__(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, labels = batch
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.network, self.optimizer, max_norm=1.0)
        self.optimizer.step()
        self.schedule.step()
        return {"loss": loss}


def trained(
    name: str,
    dataset: Images,
    folder: Path,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    device: str,
    precision: str,
    crop: int | None = None,
) -> nn.Module:
    """Train a classifier, continuing from the folder's checkpoint; return it in eval mode.

    SGD at 0.05 for the CNNs, AdamW at 0.001 for the ViT.

    Args:
        crop: side in pixels of the crops that a CNN sees. Default: the network's of ``CROPS``.
    """
    from tobias_aug.training import launch, train

    accelerator = "cuda" if device.startswith("cuda") else "cpu"
    fabric = launch(accelerator=accelerator, precision={"fp32": "32-true", "bf16": "bf16-mixed"}[precision])
    torch.manual_seed(seed)
    network = NETWORKS[name](len(dataset.classes)).to(memory_format=torch.channels_last)
    side = CROPS[name] if crop is None or name == "vit" else crop
    batches = RandomCrops(dataset, side, batch_size, seed)
    if name == "vit":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    else:
        optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * len(batches)
    step = ClassifierStep(fabric, network, optimizer, steps)
    train(fabric, step, batches, step.state, folder, steps=steps, checkpoint_every=len(batches), log_every=20)
    return network.to(device).eval()


@torch.inference_mode()
def accuracy(network: nn.Module, dataset: Images, device: str) -> float:
    """Share of images, whole and unflipped, whose class is found; per cent."""
    right = 0
    for images, labels in zip(dataset.images.split(100), dataset.labels.split(100), strict=True):
        batch = normalize(to_unit(images)).to(device)
        right += int((network(batch).argmax(1).cpu() == labels).sum())
    return 100 * right / len(dataset.labels)
