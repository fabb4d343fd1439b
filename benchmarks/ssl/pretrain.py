"""Self-supervised training of a ResNet on images in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.ssl.arms import Mixer
from benchmarks.ssl.epochs import steps_of
from benchmarks.ssl.images import Labeled
from benchmarks.ssl.methods import DEFAULTS, make_method
from benchmarks.ssl.views import make_view


@dataclass(frozen=True)
class PretrainRecipe:
    """How an encoder is pretrained.

    Attributes:
        method: "moco", "simclr" or "byol"; it brings its learning rate, of a cosine to 0.
        size: side of the views in pixels.
        epochs: number of epochs; a last, shorter batch is dropped.
        batch_size: images per step.
        queue: old keys of MoCo, a multiple of the batch.
        transforms: a key of :data:`~benchmarks.ssl.views.TRANSFORMS`.
        weight_decay: of all parameters; SGD with momentum 0.9.
        precision: "fp32", or "bf16" (autocast).
        device: that trains.
    """

    method: str
    size: int = 64
    epochs: int = 200
    batch_size: int = 128
    queue: int = 4096
    transforms: str = "full"
    weight_decay: float = 1e-4
    precision: str = "fp32"
    device: str = "cpu"


class Pretraining:
    """One self-supervised training; the arm changes the first view alone, which is MoCo's query.

    Args:
        recipe: how.
        network: a ResNet, whose ``fc`` is left out and comes back untouched.
        data: images; labels are not read.
        mixer: the arm; its generator draws views and order too.
        seed: decides the heads' weights and, with an epoch's number, all that the epoch draws.
    """

    def __init__(self, recipe: PretrainRecipe, network: nn.Module, data: Labeled, mixer: Mixer, seed: int) -> None:
        self.recipe, self.network, self.data, self.mixer, self.seed = recipe, network, data, mixer, seed
        self.pixels = data.pixels.to(recipe.device)
        self.head, width = network.fc, network.fc.in_features
        network.fc = nn.Identity()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.model = make_method(recipe.method, network, width, recipe.queue)
        self.model = self.model.to(recipe.device, memory_format=torch.channels_last)
        defaults = DEFAULTS[recipe.method]
        self.rate = defaults.lr * recipe.batch_size / defaults.batch_size
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, self.rate, momentum=0.9, weight_decay=recipe.weight_decay)
        self.steps = steps_of(len(data), recipe.batch_size)

    def epoch(self, number: int) -> float:
        """Train for an epoch, counted from 0, all of whose draws follow from the seed and its number; mean loss."""
        recipe, random = self.recipe, self.mixer.generator
        random.manual_seed(1_000_003 * self.seed + number)
        # MoCo's shuffle draws from the program's generator.
        torch.manual_seed(1_000_003 * self.seed + number)
        order = torch.randperm(len(self.data), generator=random)
        self.model.train()
        total = 0.0
        for step, numbers in enumerate(order.split(recipe.batch_size)[: self.steps]):
            done = (number * self.steps + step) / (recipe.epochs * self.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * done))
            images = self.pixels[numbers.to(self.pixels.device)]
            both = (self.mixer.view(images, numbers), images)
            views = [make_view(one, recipe.size, recipe.transforms, random) for one in both]
            with torch.autocast(recipe.device.split(":")[0], torch.bfloat16, recipe.precision == "bf16"):
                loss = self.model(*views)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += float(loss.detach())
        return total / self.steps

    def finished(self) -> nn.Module:
        """Return the network with its last layer, as it was given, on top of the trained rest."""
        self.network.fc = self.head.to(self.recipe.device)
        return self.network
