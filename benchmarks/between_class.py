"""Between-class learning on CIFAR-10: the paper's network and recipe, test error beside the paper's.

    python -m benchmarks.between_class --data ../shared/data --method standard,bc,bc-plus --json FILE

The 11-layer network, SGD with Nesterov momentum, learning rate 0.1 divided by ten after 40, 60 and 80 % of 250 epochs,
batches of 128, flips and crops; the error of the last epoch. All methods see as many images in as many steps.

``standard``  no mix.
``bc``, ``bc-plus``  the published sampling: every pair drawn from the whole training set, each image cropped by itself.
``bc-batch``, ``bc-plus-batch``  ``BetweenClassMix``: partners from the batch.
``mixup``, ``cutmix``, ``random-merge``  the controls, on the batch.

The training set stays on the device as uint8; normalisation, flip and crop are done there, a batch at a time. A small
machine takes ``--epochs 30 --subset 10000 --width 32 --batch-size 32 --lr 0.03 --augment none --precision bf16``: a mix
keeps a network from fitting its training set too well, and with flips and crops a narrow one does not fit it in 30
epochs anyway. With ``--json`` a finished run is not made again, and one that was stopped goes on after its last epoch.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cifar import load_cifar10
from benchmarks.report import Row, finished_runs, markdown, publish_record, record_of
from tobias_aug import BetweenClassMix, BetweenClassNormalize, CutMix, Mixup, RandomMerge, ratio_loss
from tobias_aug.between_class.convnet import ConvNet
from tobias_aug.between_class.functional import mix_pairs
from tobias_aug.files import atomic_path

CLASSES, PADDING = 10, 4


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
    """Draw an epoch from (seed, epoch) alone, so that a run that was stopped goes on as it would have.

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
        """Train to the end, going on after the checkpoint where there is one; give what is worth keeping."""
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
                sys.exit(f"{self.name}, seed {self.seed}: the loss is {loss} in epoch {epoch + 1}")
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
        return {"test error": history[-1]["test error"], "history": history}


def rows_of(runs: dict[str, dict[str, Any]], reduced: bool) -> list[Row]:
    """A row a method, over its seeds; a reduced run says that the paper's error is not of its kind."""
    rows = []
    for name, seeds in runs.items():
        errors = [run["test error"] for run in seeds.values()]
        if errors:
            value, reference = mean(errors), METHODS[name].reference
            ratio = value / reference if reference else None
            spread = stdev(errors) if len(errors) > 1 else None
            called = f"{name}: test error{', reduced run' if reduced else ''}"
            rows.append(Row(called, value, "%", reference, ratio, len(errors), spread))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds CIFAR-10")
    parser.add_argument("--method", default="standard,bc,bc-plus", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--subset", type=int, help="so many training images, the same for every method and seed")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--augment", choices=["standard", "none"], default="standard", help="flips and crops, or not")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage; the paper's is 64")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast")
    parser.add_argument("--test-every", type=int, default=0, help="epochs between tests; the last is always tested")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="store every finished run here, and checkpoints beside it")
    args = parser.parse_args()
    names = args.method.split(",")
    if unknown := set(names) - set(METHODS):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    keys = ("epochs", "subset", "augment", "width", "dropout", "batch_size", "lr", "precision")
    record = record_of(args.json, **{key: getattr(args, key) for key in keys})
    record["runs"] = finished_runs(args.json, record["settings"])
    reduced = bool(args.subset) or args.epochs < 250 or args.width < 64

    images, labels = load_cifar10(args.data, train=True)
    if args.subset:
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: args.subset]
        images, labels = images[chosen], labels[chosen]
    test_images, test_labels = load_cifar10(args.data, train=False)
    # Labels stay on the CPU, where an epoch is planned.
    data = (images.to(args.device), labels, test_images.to(args.device), test_labels)
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in names:
            done = record["runs"].setdefault(name, {})
            if str(seed) in done:
                continue
            checkpoint = args.json and args.json.with_suffix(".checkpoints") / f"{name}-{seed}.pt"
            done[str(seed)] = Run(args, name, seed, data).finish(checkpoint)
            # Other seeds may be running beside these, into the same file.
            for other, finished in finished_runs(args.json, record["settings"]).items():
                record["runs"][other] = finished | record["runs"].get(other, {})
            record["rows"] = [asdict(row) for row in rows_of(record["runs"], reduced)]
            publish_record(record, args.json)
            if checkpoint:
                checkpoint.unlink(missing_ok=True)
    record["rows"] = [asdict(row) for row in rows_of(record["runs"], reduced)]
    publish_record(record, args.json)
    print(markdown(rows_of(record["runs"], reduced)))


if __name__ == "__main__":
    main()
