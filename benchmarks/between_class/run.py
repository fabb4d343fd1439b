"""Between-class learning on CIFAR-10: the paper's network and recipe, test error beside the paper's.

    python -m benchmarks.between_class --data ../shared/data --method standard,bc,bc-plus --json FILE

The 11-layer network, SGD with Nesterov momentum, learning rate 0.1 divided by ten after 40, 60 and 80 % of 250 epochs,
batches of 128, flips and crops; the error of the last epoch. All methods see as many images in as many steps.

``standard``  no mix.
``bc``, ``bc-plus``  the published sampling: every pair drawn from the whole training set, each image cropped by itself.
``bc-batch``, ``bc-plus-batch``  ``BetweenClassMix``: partners from the batch.
``mixup``, ``cutmix``, ``random-merge``  the controls, on the batch.

The training set stays on the device as uint8; normalization, flip and crop are done there, a batch at a time. A small
machine takes ``--epochs 30 --subset 10000 --width 32 --batch-size 32 --lr 0.03 --augment none --precision bf16``: a mix
keeps a network from fitting its training set too well, and with flips and crops a narrow one does not fit it in 30
epochs anyway. Whatever differs from the paper's recipe or data makes a "reduced run", which stands beside no number of
the paper. With ``--json`` a finished run is not made again, and one that was stopped continues after its last epoch.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.between_class.cifar import load_cifar10
from benchmarks.command import CommandError, chosen, command, new_parser, positive, seeds_of, training_arguments
from benchmarks.report import Row
from benchmarks.runs import REDUCED, Job, Runs, as_published, over_seeds, run_all, told_apart
from tobias_aug import BetweenClassMix, BetweenClassNormalize, CutMix, Mixup, RandomMerge, ratio_loss
from tobias_aug.between_class import ConvNet, mix_pairs
from tobias_aug.runtime.files import atomic_path

CLASSES, PADDING = 10, 4
# The paper's recipe, all of it that an option can change, and its data.
PUBLISHED = {
    "epochs": 250,
    "subset": None,
    "augment": "standard",
    "width": 64,
    "dropout": 0.5,
    "batch_size": 128,
    "lr": 0.1,
}
PUBLISHED_DATA = {"train": 50_000, "test": 10_000}


@dataclass(frozen=True)
class Method:
    """How a batch is made: ``pairs`` from the whole set, or ``mix`` on the batch, or neither.

    ``reference`` is the paper's test error in per cent (250 epochs on all 50,000 images, mean of ten trials).
    """

    plus: bool = False
    pairs: bool = False
    mix: Callable[[], Any] | None = None
    reference: float | None = None


METHODS = {
    "standard": Method(reference=6.07),
    "bc": Method(pairs=True, reference=5.40),
    "bc-plus": Method(plus=True, pairs=True, reference=5.22),
    "bc-batch": Method(mix=lambda: BetweenClassMix(CLASSES)),
    "bc-plus-batch": Method(plus=True, mix=lambda: BetweenClassMix(CLASSES, plus=True)),
    "mixup": Method(mix=lambda: Mixup(CLASSES)),
    "cutmix": Method(mix=lambda: CutMix(CLASSES)),
    "random-merge": Method(mix=lambda: RandomMerge(p=0.5, num_classes=CLASSES)),
}


@dataclass
class Plan:
    """All that an epoch draws, on the CPU: ``images`` of shape (1 or 2, n), or their numbers where it pairs."""

    images: Tensor
    flip: Tensor
    top: Tensor
    left: Tensor
    ratio: Tensor


def plan_epoch(labels: Tensor, pairs: bool, seed: int, epoch: int, augment: bool = True) -> Plan:
    """Draw an epoch from (seed, epoch) alone, so that a run that was stopped continues as it would have.

    Without pairs a permutation; with pairs, as published, independent uniform draws, both again until labels differ.
    Without ``augment`` nothing is flipped or moved.
    """
    random = torch.Generator().manual_seed(1_000_003 * seed + epoch)
    count = len(labels)
    if pairs:
        images = torch.empty(2, 0, dtype=torch.long)
        while images.shape[1] < count:
            drawn = torch.randint(count, (2, count), generator=random)
            images = torch.cat([images, drawn[:, labels[drawn[0]] != labels[drawn[1]]]], 1)
        images = images[:, :count]
    else:
        images = torch.randperm(count, generator=random)[None]
    flip = torch.rand(images.shape, generator=random) < 0.5
    top, left = (torch.randint(2 * PADDING + 1, images.shape, generator=random) for _ in range(2))
    if not augment:
        flip, top, left = torch.zeros_like(flip), torch.full_like(top, PADDING), torch.full_like(left, PADDING)
    return Plan(images, flip, top, left, torch.rand(count, generator=random))


def crop(images: Tensor, flip: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Flip, pad with zeros and crop every image by itself, in one gather; the result is channels_last."""
    side = images.shape[-1]
    padded = nn.functional.pad(images, (PADDING,) * 4)
    along = torch.arange(side, device=images.device)
    rows, columns = top[:, None] + along, left[:, None] + along
    columns = torch.where(flip[:, None], padded.shape[-1] - 1 - columns, columns)
    number = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class Run:
    """One training: a method, a seed, and the data on the device."""

    def __init__(self, args: argparse.Namespace, name: str, seed: int, data: tuple[Tensor, ...]) -> None:
        self.args, self.name, self.seed, self.method = args, name, seed, METHODS[name]
        self.images, self.labels, self.test_images, self.test_labels = data
        self.normalize = BetweenClassNormalize.published("cifar10", self.method.plus)
        self.mix = self.method.mix() if self.method.mix else None
        torch.manual_seed(seed)
        self.network = ConvNet(CLASSES, width=args.width, dropout=args.dropout)
        self.network.to(args.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), args.lr, momentum=0.9, weight_decay=5e-4, nesterov=True
        )

    def autocast(self) -> Any:
        return torch.autocast(self.args.device.split(":")[0], torch.bfloat16, enabled=self.args.precision == "bf16")

    def train_epoch(self, epoch: int) -> float:
        """Mean loss of an epoch, counted from 0."""
        args = self.args
        torch.manual_seed(1_000_003 * self.seed + epoch)  # For dropout, and for mixes on the batch.
        rate = args.lr * 0.1 ** sum(epoch + 1 > share * args.epochs for share in (0.4, 0.6, 0.8))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        plan = plan_epoch(self.labels, self.method.pairs, self.seed, epoch, args.augment == "standard")
        total = torch.zeros((), device=args.device)
        for start in range(0, len(self.labels), args.batch_size):
            batch = slice(start, start + args.batch_size)
            images, labels = self.batch(plan, batch)
            with self.autocast():
                logits = self.network(images)
            loss = (
                nn.functional.cross_entropy(logits.float(), labels) if labels.ndim == 1 else ratio_loss(logits, labels)
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(images)
        return float(total) / len(self.labels)

    def batch(self, plan: Plan, batch: slice) -> tuple[Tensor, Tensor]:
        device = self.args.device
        numbers = plan.images[:, batch]
        geometry = [what[:, batch].reshape(-1).to(device) for what in (plan.flip, plan.top, plan.left)]
        images = crop(self.normalize(self.images[numbers.reshape(-1).to(device)]), *geometry)
        labels = self.labels[numbers]
        if self.method.pairs:
            ratio = plan.ratio[batch]
            own, other = nn.functional.one_hot(labels, CLASSES).float()
            soft = torch.lerp(other, own, ratio[:, None]).to(device)
            return mix_pairs(*images.chunk(2), ratio.to(device), self.method.plus), soft
        labels = labels[0].to(device)
        return self.mix(images, labels) if self.mix else (images, labels)

    @torch.inference_mode()
    def test(self) -> float:
        """Test error in per cent."""
        self.network.eval()
        wrong = 0
        for images, labels in zip(self.test_images.split(1000), self.test_labels.split(1000), strict=True):
            images = self.normalize(images).contiguous(memory_format=torch.channels_last)
            with self.autocast():
                wrong += int((self.network(images).argmax(1).cpu() != labels).sum())
        return 100 * wrong / len(self.test_labels)

    def finish(self, checkpoint: Path | None) -> dict[str, Any]:
        """Train to the end, continuing after the checkpoint where there is one; give what is worth keeping."""
        args, history = self.args, []
        if checkpoint is not None and checkpoint.is_file():
            stored = torch.load(checkpoint, map_location=args.device, weights_only=True)
            self.network.load_state_dict(stored["network"])
            self.optimizer.load_state_dict(stored["optimizer"])
            history = stored["history"]
        for epoch in range(len(history), args.epochs):
            begun = perf_counter()
            loss = self.train_epoch(epoch)
            rate = len(self.labels) / (perf_counter() - begun)
            if not math.isfinite(loss):
                raise CommandError(f"{self.name}, seed {self.seed}: the loss is {loss} in epoch {epoch + 1}")
            last = epoch + 1 == args.epochs
            tested = last or (args.test_every and (epoch + 1) % args.test_every == 0)
            history.append({"loss": loss, "images/s": rate, **({"test error": self.test()} if tested else {})})
            said = ", ".join(f"{what} {value:.4g}" for what, value in history[-1].items())
            print(f"{self.name}, seed {self.seed}, epoch {epoch + 1}/{args.epochs}: {said}", flush=True)
            if checkpoint is not None and not last:
                checkpoint.parent.mkdir(parents=True, exist_ok=True)
                state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
                with atomic_path(checkpoint) as temporary:
                    torch.save({**state, "history": history}, temporary)
        data = {"train": len(self.labels), "test": len(self.test_labels)}
        return {"test error": history[-1]["test error"], "history": history, "data": data}


def rows_of(runs: Runs) -> list[Row]:
    """A row per method, over its seeds; beside the paper's error where the run is the paper's."""
    rows = []
    own = told_apart(runs)
    for name, seeds in runs.items():
        if seeds:
            published = as_published(seeds, PUBLISHED, PUBLISHED_DATA)
            title = f"{name}{own[name]}: test error{'' if published else REDUCED}"
            reference = METHODS[name].reference if published else None
            rows.append(over_seeds(title, [run["test error"] for run in seeds.values()], reference))
    return rows


@command
def main() -> None:
    parser = new_parser(__doc__)
    training_arguments(parser, "CIFAR-10", METHODS, "standard,bc,bc-plus")
    parser.add_argument("--epochs", type=positive, default=250)
    parser.add_argument("--subset", type=positive, help="so many training images, the same for every method and seed")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--augment", choices=["standard", "none"], default="standard", help="flips and crops, or not")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage; the paper's is 64")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast")
    parser.add_argument("--test-every", type=int, default=0, help="epochs between tests; the last is always tested")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    @cache
    def data() -> tuple[Tensor, ...]:
        images, labels = load_cifar10(args.data, train=True)
        if args.subset:
            some = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: args.subset]
            images, labels = images[some], labels[some]
        test_images, test_labels = load_cifar10(args.data, train=False)
        # Labels stay on the CPU, where an epoch is planned.
        return images.to(args.device), labels, test_images.to(args.device), test_labels

    def complete(name: str, seed: int) -> dict[str, Any]:
        checkpoint = args.json and args.json.with_suffix(".checkpoints") / f"{name}-{seed}.pt"
        result = Run(args, name, seed, data()).finish(checkpoint)
        if checkpoint:
            checkpoint.unlink(missing_ok=True)
        return result

    settings = {key: getattr(args, key) for key in (*PUBLISHED, "precision")}
    jobs = [
        Job(name, str(seed), partial(complete, name, seed))
        for seed in seeds_of(args)
        for name in chosen(parser, args.method, METHODS)
    ]
    run_all(jobs, settings, rows_of, args.json)


if __name__ == "__main__":
    main()
