"""Between-class learning on ESC-10: EnvNets on raw waveforms, test error over five folds beside the paper's.

    python -m benchmarks.between_class_sound --data ../shared/data --method standard,bc --json FILE

The paper's recipe: clips padded and cropped at random, SGD with Nesterov momentum, learning rate 0.01 divided by ten
after 50 and 75 % of 600 epochs, 1200 with between-class learning, batches of 64, weight decay; tested on ten crops.

``standard``  no mix.
``bc``        the published sampling, ``BetweenClassDataset``: every pair drawn from the whole training set.
``bc-batch``  ``BetweenClassAudioMix``: partners from the batch.

``--strong`` adds the paper's strong augmentation, scale and gain. Folds are the first character of the file names. A
small machine takes ``--network envnet --epochs 20 --same-epochs --precision bf16``. With ``--json`` a finished fold is
not run again. Needs the extra ``audio``.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from benchmarks.report import Row, finished_runs, markdown, publish_record, record_of
from benchmarks.sounds import Clips, load_clips
from tobias_aug import BetweenClassAudioMix, BetweenClassDataset, ratio_loss
from tobias_aug.between_class.audio_crops import (
    RandomCropPadded,
    RandomGain,
    RandomTimeScale,
    ten_crop_probabilities,
)
from tobias_aug.between_class.audio_functional import mix_by_loudness
from tobias_aug.between_class.envnet import EnvNet, EnvNetV2
from tobias_aug.training.loader import ReproducibleLoader

CLASSES = 10
METHODS = ("standard", "bc", "bc-batch")
NETWORKS: dict[str, type[EnvNet | EnvNetV2]] = {"envnet": EnvNet, "envnet-v2": EnvNetV2}

# Test error on ESC-10 in per cent, of the paper's Table 1: standard, between-class. EnvNet has no row with strong
# augmentation.
PAPER = {("envnet", False): (12.8, 11.3), ("envnet-v2", False): (14.2, 10.6), ("envnet-v2", True): (10.9, 8.6)}


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
                sys.exit(f"the loss is {loss} in epoch {epoch + 1}")
            if epoch + 1 == self.epochs or (epoch + 1) % 10 == 0:
                say(f"epoch {epoch + 1}/{self.epochs}: loss {loss:.4f}, {seconds[-1]:.3g} s a step")
        return {"test error": self.test(), "loss": loss, "seconds a step": sorted(seconds)[len(seconds) // 2]}


def rows_of(runs: dict[str, dict[str, Any]], args: Any) -> list[Row]:
    """A row a method: over folds the mean, over seeds mean and deviation; the paper's number beside all five folds."""
    rows = []
    for method, done in runs.items():
        seeds: dict[str, dict[str, float]] = {}
        for name, run in done.items():
            seed, fold = name.split("-")
            seeds.setdefault(seed, {})[fold] = run["test error"]
        errors = [mean(folds.values()) for folds in seeds.values()]
        if not errors:
            continue
        folds = sorted({fold for found in seeds.values() for fold in found})
        reference = PAPER.get((args.network, args.strong), (None, None))[method != "standard"]
        value, whole = mean(errors), len(folds) == 5
        reduced = ", reduced run" if args.epochs < 600 else ""
        name = f"{args.network}, {method}{', strong' if args.strong else ''}: test error{reduced}"
        rows.append(
            Row(
                name if whole else f"{name}, folds {' '.join(folds)}",
                value,
                "%",
                reference,
                value / reference if reference else None,
                len(errors),
                stdev(errors) if len(errors) > 1 else None,
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds esc10")
    parser.add_argument("--method", default="standard,bc", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--network", choices=list(NETWORKS), default="envnet-v2")
    parser.add_argument("--strong", action="store_true", help="the paper's strong augmentation")
    parser.add_argument("--folds", default="1,2,3,4,5", help="folds to test on")
    parser.add_argument("--epochs", type=int, default=600, help="twice as many with between-class learning")
    parser.add_argument("--same-epochs", action="store_true", help="as many for every method")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--clips", type=int, help="so many clips of each class and fold, to try things out")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast")
    parser.add_argument("--workers", type=int, default=0, help="processes that crop and mix")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cache", type=Path, help="folder that keeps the decoded clips")
    parser.add_argument("--json", type=Path, help="store every finished fold here")
    args = parser.parse_args()
    names = args.method.split(",")
    if unknown := set(names) - set(METHODS):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    keys = ("network", "strong", "epochs", "same_epochs", "batch_size", "lr", "clips", "precision")
    record = record_of(args.json, **{key: getattr(args, key) for key in keys})
    record["runs"] = finished_runs(args.json, record["settings"])

    waveforms, targets, folds = load_clips(args.data / "esc10", NETWORKS[args.network].sample_rate, args.cache)
    chosen = first_clips(targets, folds, args.clips) if args.clips else range(len(targets))

    def clips(wanted: Callable[[int], bool]) -> Clips:
        picked = [number for number in chosen if wanted(folds[number])]
        return Clips([waveforms[number] for number in picked], [targets[number] for number in picked])

    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for fold in map(int, args.folds.split(",")):
            for method in names:
                done = record["runs"].setdefault(method, {})
                if f"{seed}-{fold}" in done:
                    continue
                train, test = (
                    clips(lambda other, fold=fold: other != fold),
                    clips(lambda other, fold=fold: other == fold),
                )
                run = Run(args, method, seed, train, test)
                done[f"{seed}-{fold}"] = run.finish(
                    lambda said, place=f"{method}, seed {seed}, fold {fold}": print(f"{place}, {said}", flush=True)
                )
                record["rows"] = [asdict(row) for row in rows_of(record["runs"], args)]
                publish_record(record, args.json)
    print(markdown(rows_of(record["runs"], args)))


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
