"""Train a classifier on images in memory: the supervised arms, and the fine-tuning of what was pretrained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.ssl.arms import Mixer
from benchmarks.ssl.augment import crop, draw_crops, draw_flips, normalized
from benchmarks.ssl.epochs import Clock, run_epochs, steps_of
from benchmarks.ssl.images import Labeled


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Attributes:
        size: side of the crops in pixels.
        epochs: number of epochs; a last, shorter batch is dropped.
        batch_size: images per step.
        lr: first learning rate, of a cosine to 0; SGD with momentum 0.9.
        weight_decay: of all parameters.
        scale: least and greatest share of an image's area in a crop.
        ratio: least and greatest width by height of a crop.
        precision: "fp32", or "bf16" (autocast).
        device: that trains.
    """

    size: int = 64
    epochs: int = 120
    batch_size: int = 64
    lr: float = 0.1
    weight_decay: float = 5e-4
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    precision: str = "fp32"
    device: str = "cpu"


class Training:
    """One training of a classifier.

    Args:
        name: for messages.
        recipe: how.
        network: the classifier.
        data: images and labels.
        mixer: the arm; its generator draws crops and order too.
        seed: with an epoch's number it decides all that the epoch draws.
    """

    def __init__(self, name: str, recipe: Recipe, network: nn.Module, data: Labeled, mixer: Mixer, seed: int) -> None:
        self.name, self.recipe, self.data, self.mixer, self.seed = name, recipe, data, mixer, seed
        self.pixels, self.labels = data.pixels.to(recipe.device), data.labels.to(recipe.device)
        self.network = network.to(recipe.device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay
        )
        self.steps = steps_of(len(data), recipe.batch_size)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Make the crops and labels of some images, by their indices on the CPU."""
        on_device = numbers.to(self.pixels.device)
        images = self.mixer.merge(self.pixels[on_device], numbers)
        crops = draw_crops(len(numbers), self.mixer.generator, self.recipe.scale, self.recipe.ratio)
        images = crop(images, crops, draw_flips(len(numbers), self.mixer.generator), self.recipe.size)
        return self.mixer.mix(normalized(images), self.labels[on_device])

    def epoch(self, number: int) -> float:
        """Train for an epoch, counted from 0, all of whose draws follow from the seed and its number; mean loss."""
        self.mixer.generator.manual_seed(1_000_003 * self.seed + number)
        order = torch.randperm(len(self.data), generator=self.mixer.generator)
        self.network.train()
        total = 0.0
        for step, numbers in enumerate(order.split(self.recipe.batch_size)[: self.steps]):
            done = (number * self.steps + step) / (self.recipe.epochs * self.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
            images, labels = self.batch(numbers)
            with torch.autocast(self.recipe.device.split(":")[0], torch.bfloat16, self.recipe.precision == "bf16"):
                logits = self.network(images)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += float(loss.detach())
        return total / self.steps

    def finish(self, checkpoint: Path, clock: Clock) -> list[dict[str, float]]:
        """Train to the end, from the checkpoint where there is one; return loss and speed of each epoch."""
        parts = {"network": self.network, "optimizer": self.optimizer}
        name = f"{self.name}, seed {self.seed}"
        return run_epochs(name, self.epoch, self.recipe.epochs, len(self.data), parts, checkpoint, clock)
