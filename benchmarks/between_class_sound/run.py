"""Between-class learning on ESC-10: EnvNets on raw waveforms, test error over five folds beside the paper's.

    python -m benchmarks.between_class_sound --data ../shared/data --method standard,bc --json FILE

The paper's recipe: clips padded and cropped at random, SGD with Nesterov momentum, learning rate 0.01 divided by ten
after 50 and 75 % of 600 epochs, 1200 with between-class learning, batches of 64, weight decay; tested on ten crops.

``standard``  no mix.
``bc``        the published sampling, ``BetweenClassDataset``: every pair drawn from the whole training set.
``bc-batch``  ``BetweenClassAudioMix``: partners from the batch.

``--strong`` adds the paper's strong augmentation, scale and gain. ``--data`` holds ESC-50 as its repository has it, of
which the ten classes of ESC-10 are taken, or ``esc10`` with one folder per class, where a file's name begins with the
number of its fold. A small machine takes ``--network envnet --epochs 20 --same-epochs --precision bf16``. Whatever
differs from the paper's recipe or data makes a "reduced run", which stands beside no number of the paper. With
``--json`` a finished fold is not run again. Needs the extra ``audio``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from benchmarks.between_class_sound.clips import CLASSES, Clips, load_clips
from benchmarks.command import (
    CommandError,
    DataError,
    chosen,
    command,
    new_parser,
    positive,
    seeds_of,
    training_arguments,
)
from benchmarks.report import Row
from benchmarks.runs import REDUCED, Job, Runs, as_published, over_seeds, run_all, told_apart
from tobias_aug import BetweenClassAudioMix, BetweenClassDataset, ratio_loss
from tobias_aug.between_class import (
    EnvNet,
    EnvNetV2,
    RandomCropPadded,
    RandomGain,
    RandomTimeScale,
    mix_by_loudness,
    ten_crop_probabilities,
)
from tobias_aug.training import ReproducibleLoader

METHODS = ("standard", "bc", "bc-batch")
NETWORKS: dict[str, type[EnvNet | EnvNetV2]] = {"envnet": EnvNet, "envnet-v2": EnvNetV2}

# Test error on ESC-10 in per cent, of the paper's Table 1: standard, between-class. EnvNet has no row with strong
# augmentation.
PAPER = {("envnet", False): (12.8, 11.3), ("envnet-v2", False): (14.2, 10.6), ("envnet-v2", True): (10.9, 8.6)}
FOLDS = ("1", "2", "3", "4", "5")
# The paper's recipe, and the size of ESC-10. With mixes it trains twice as many epochs.
PUBLISHED = {"epochs": 600, "batch_size": 64, "lr": 0.01, "clips": None}
PUBLISHED_DATA = {"train": 320, "test": 80}


class Run:
    """One training: a method and a seed, on all folds but one."""

    def __init__(self, args: argparse.Namespace, method: str, seed: int, train: Clips, test: Clips) -> None:
        self.args, self.test_clips = args, test
        self.epochs = args.epochs * (2 if method != "standard" and not args.same_epochs else 1)
        torch.manual_seed(seed)
        self.network = NETWORKS[args.network](CLASSES).to(args.device)
        if args.precision == "bf16":
            self.network = self.network.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), args.lr, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        rate, crop = self.network.sample_rate, RandomCropPadded(self.network.samples)
        train.transform = v2.Compose([RandomTimeScale(), crop]) if args.strong else crop
        data: Any = train
        if method == "bc":
            data = BetweenClassDataset(train, CLASSES, mix=partial(mix_by_loudness, sample_rate=rate))
        self.mix = BetweenClassAudioMix(CLASSES, rate) if method == "bc-batch" else None
        self.gain = RandomGain() if args.strong else None
        self.loader = ReproducibleLoader(data, args.batch_size, seed=seed, workers=args.workers)

    def autocast(self) -> Any:
        return torch.autocast(self.args.device.split(":")[0], torch.bfloat16, enabled=self.args.precision == "bf16")

    def train_epoch(self, epoch: int) -> float:
        """Mean loss of an epoch, counted from 0."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.lr * 0.1 ** sum(epoch + 1 > share * self.epochs for share in (0.5, 0.75))
        self.network.train()
        losses = []
        for waveforms, labels in self.loader.epoch(epoch):
            waveforms, labels = waveforms.to(self.args.device), labels.to(self.args.device)
            if self.mix:
                waveforms, labels = self.mix(waveforms, labels)
            if self.gain:
                waveforms = self.gain(waveforms)
            with self.autocast():
                logits = self.network(waveforms).float()
            loss = nn.functional.cross_entropy(logits, labels) if labels.ndim == 1 else ratio_loss(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def test(self) -> float:
        """Test error in per cent, each clip by the mean of its ten crops."""
        self.network.eval()
        wrong = 0
        with self.autocast():
            for waveform, target in self.test_clips:
                found = ten_crop_probabilities(self.logits, waveform[None].to(self.args.device), self.network.samples)
                wrong += int(found.argmax(1) != target)
        return 100 * wrong / len(self.test_clips)

    def logits(self, waveforms: Tensor) -> Tensor:
        return self.network(waveforms).float()

    def finish(self, say: Callable[[str], None]) -> dict[str, float]:
        """Train to the end; give the last epoch's error, and seconds a step."""
        seconds = []
        for epoch in range(self.epochs):
            begun = perf_counter()
            loss = self.train_epoch(epoch)
            seconds.append((perf_counter() - begun) / len(self.loader))
            if not math.isfinite(loss):
                raise CommandError(f"the loss is {loss} in epoch {epoch + 1}")
            if epoch + 1 == self.epochs or (epoch + 1) % 10 == 0:
                say(f"epoch {epoch + 1}/{self.epochs}: loss {loss:.4f}, {seconds[-1]:.3g} s per step")
        return {"test error": self.test(), "loss": loss, "seconds a step": sorted(seconds)[len(seconds) // 2]}


def rows_of(runs: Runs) -> list[Row]:
    """A row per method and set of folds: over folds the mean, over seeds mean and standard deviation.

    The paper's number stands beside all five folds of its recipe alone. Seeds that were tested on other folds have a
    row of their own, since a mean over both would be of neither.
    """
    rows = []
    own = told_apart(runs)
    for method, done in runs.items():
        seeds: dict[str, dict[str, float]] = {}
        for name, run in done.items():
            seed, fold = name.split("-")
            seeds.setdefault(seed, {})[fold] = run["test error"]
        for folds in dict.fromkeys(tuple(sorted(found)) for found in seeds.values()):
            alike = {seed for seed, found in seeds.items() if tuple(sorted(found)) == folds}
            settings = next(iter(done.values()))["settings"]
            recipe = PUBLISHED if method == "standard" else {**PUBLISHED, "same_epochs": False}
            published = as_published(done, recipe, PUBLISHED_DATA) and folds == FOLDS
            strong = ", strong" if settings["strong"] else ""
            title = f"{settings['network']}, {method}{strong}{own[method]}: test error{'' if published else REDUCED}"
            numbers = PAPER.get((settings["network"], settings["strong"])) if published else None
            errors = [mean(seeds[seed].values()) for seed in seeds if seed in alike]
            rows.append(
                over_seeds(
                    title if folds == FOLDS else f"{title}, folds {' '.join(folds)}",
                    errors,
                    numbers[method != "standard"] if numbers else None,
                )
            )
    return rows


@command
def main() -> None:
    parser = new_parser(__doc__)
    training_arguments(parser, "ESC-50 or esc10", METHODS, "standard,bc")
    parser.add_argument("--network", choices=list(NETWORKS), default="envnet-v2")
    parser.add_argument("--strong", action="store_true", help="the paper's strong augmentation")
    parser.add_argument("--folds", default=",".join(FOLDS), help="folds to test on")
    parser.add_argument("--epochs", type=positive, default=600, help="twice as many with between-class learning")
    parser.add_argument("--same-epochs", action="store_true", help="as many for every method")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--clips", type=positive, help="so many clips of each class and fold, to try things out")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast")
    parser.add_argument("--workers", type=int, default=0, help="processes that crop and mix")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cache", type=Path, help="folder that keeps the decoded clips")
    args = parser.parse_args()
    wanted = chosen(parser, args.folds, FOLDS)

    @cache
    def data() -> tuple[list[Tensor], list[int], list[int]]:
        return load_clips(args.data, NETWORKS[args.network].sample_rate, args.cache)

    def clips(wanted: Callable[[int], bool]) -> Clips:
        waveforms, targets, folds = data()
        some = first_clips(targets, folds, args.clips) if args.clips else range(len(targets))
        picked = [index for index in some if wanted(folds[index])]
        return Clips([waveforms[index] for index in picked], [targets[index] for index in picked])

    def complete(method: str, seed: int, fold: int) -> dict[str, Any]:
        train, test = clips(lambda other: other != fold), clips(lambda other: other == fold)
        if not len(train) or not len(test):
            raise DataError(f"{args.data} has clips of folds {sorted(set(data()[2]))}; fold {fold} cannot be tested on")
        place = f"{method}, seed {seed}, fold {fold}"
        result = Run(args, method, seed, train, test).finish(lambda said: print(f"{place}, {said}", flush=True))
        return {**result, "data": {"train": len(train), "test": len(test)}}

    keys = ("network", "strong", "epochs", "same_epochs", "batch_size", "lr", "clips", "precision")
    jobs = [
        Job(method, f"{seed}-{fold}", partial(complete, method, seed, int(fold)))
        for seed in seeds_of(args)
        for fold in wanted
        for method in chosen(parser, args.method, METHODS)
    ]
    run_all(jobs, {key: getattr(args, key) for key in keys}, rows_of, args.json)


def first_clips(targets: list[int], folds: list[int], count: int) -> list[int]:
    """The first clips of each class and fold."""
    seen: dict[tuple[int, int], int] = {}
    picked = []
    for number, kind in enumerate(zip(targets, folds, strict=True)):
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= count:
            picked.append(number)
    return picked


if __name__ == "__main__":
    main()
