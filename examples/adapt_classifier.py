"""Adapt a torchvision classifier to images without labels, in a loop of one's own, with MCD or DANN.

    python examples/adapt_classifier.py SOURCE TARGET --method source --test TEST          what adaptation must beat
    python examples/adapt_classifier.py SOURCE TARGET --method mcd --test TEST --out adapted.pt
    python examples/adapt_classifier.py SOURCE TARGET --method dann --weights DEFAULT --test TEST

SOURCE has a folder of images per class, TARGET images at any depth; names of folders in it are not read. TEST, if
given, is labeled as SOURCE is, and is looked at once, after the last step.

The file holds a plain torchvision classifier and its class names, whatever the method:

    stored = torch.load("adapted.pt", weights_only=True)
    model = torchvision.models.get_model(stored["backbone"], num_classes=len(stored["classes"]))
    model.load_state_dict(stored["state_dict"])
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tobias_aug.adaptation import (
    MCD,
    DANNLoss,
    DomainDiscriminator,
    UnlabeledImages,
    adapt_batch_norm,
    reversal_schedule,
)
from tobias_aug.images import ImageFiles

Batch = tuple[Tensor, Tensor, Tensor]
Step = Callable[[Batch, float], Tensor]


def source_step(features: nn.Module, head: nn.Module, lr: float) -> Step:
    """Return the step without adaptation, the baseline: the target is not looked at."""
    optimizer = sgd([*features.parameters(), *head.parameters()], lr)

    def step(batch: Batch, progress: float) -> Tensor:
        source, labels, _ = batch
        loss = F.cross_entropy(head(features(source)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def mcd_step(features: nn.Module, heads: list[nn.Linear], lr: float) -> Step:
    """Return MCD's step of three updates: all on the source, heads disagree on the target, features follow."""
    mcd = MCD(features, *heads)
    feature_optimizer, head_optimizer = sgd(mcd.generator.parameters(), lr), sgd(mcd.classifiers.parameters(), lr)

    def descend(loss: Tensor, *optimizers: torch.optim.Optimizer) -> Tensor:
        mcd.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    def step(batch: Batch, progress: float) -> Tensor:
        source, labels, target = batch
        source_loss = descend(mcd.source_loss(source, labels), feature_optimizer, head_optimizer)
        descend(mcd.classifier_loss(source, labels, target), head_optimizer)
        for _ in range(mcd.updates):
            descend(mcd.generator_loss(target), feature_optimizer)
        return source_loss

    return step


def dann_step(features: nn.Module, head: nn.Module, discriminator: nn.Module, lr: float) -> Step:
    """Return DANN's step, one update: learn the source, with features that do not tell the domain."""
    criterion = DANNLoss(discriminator).to(next(features.parameters()).device)
    optimizer = sgd([*features.parameters(), *head.parameters(), *criterion.parameters()], lr)

    def step(batch: Batch, progress: float) -> Tensor:
        source, labels, target = batch
        criterion.reversal.set_coefficient(reversal_schedule(progress))
        source_features, target_features = features(source), features(target)
        source_loss = F.cross_entropy(head(source_features), labels)
        optimizer.zero_grad()
        (source_loss + criterion(source_features, target_features)).backward()
        optimizer.step()
        return source_loss.detach()

    return step


def sgd(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=5e-4)


def whole_classifier(features: nn.Module, heads: list[nn.Linear]) -> nn.Module:
    """Return a classifier of torchvision's layout; the sum of several linear heads' logits is one linear layer."""
    model = copy.deepcopy(features)
    model.fc = copy.deepcopy(heads[0])
    with torch.no_grad():
        for head in heads[1:]:
            model.fc.weight += head.weight
            model.fc.bias += head.bias
    return model


def endless(loader: DataLoader) -> Iterator:
    while True:
        yield from loader


def accuracy(model: nn.Module, loader: DataLoader, device: str) -> float:
    model.eval()
    correct = count = 0
    with torch.inference_mode():
        for images, labels in loader:
            correct += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
            count += len(labels)
    return 100 * correct / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="labeled images, a folder per class")
    parser.add_argument("target", type=Path, help="images of the other domain")
    parser.add_argument("--test", type=Path, help="labeled images of the target's domain")
    parser.add_argument("--method", choices=["mcd", "dann", "source"], default="mcd")
    parser.add_argument("--backbone", default="resnet18", help="a torchvision ResNet")
    parser.add_argument("--weights", help="as torchvision takes it, for example DEFAULT; from nothing without it")
    parser.add_argument("--input-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32, help="of each domain")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="file for the classifier and its class names")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    statistics = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    ending = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*statistics)]
    augment = v2.Compose([v2.RandomResizedCrop(args.input_size, (0.5, 1)), v2.RandomHorizontalFlip(), *ending])
    plain = v2.Compose([v2.Resize((args.input_size, args.input_size)), *ending])
    options = {"batch_size": args.batch_size, "shuffle": True, "drop_last": True, "num_workers": args.workers}
    source = ImageFolder(str(args.source), augment)
    batches = zip(
        endless(DataLoader(source, **options)),
        endless(DataLoader(UnlabeledImages(ImageFiles(args.target), transform=augment), **options)),
        strict=True,
    )

    features = torchvision.models.get_model(args.backbone, weights=args.weights)
    width, features.fc = features.fc.in_features, nn.Identity()
    features.to(args.device)
    heads = [nn.Linear(width, len(source.classes)).to(args.device) for _ in range(2 if args.method == "mcd" else 1)]
    if args.method == "mcd":
        step = mcd_step(features, heads, args.lr)
    elif args.method == "dann":
        step = dann_step(features, heads[0], DomainDiscriminator(width), args.lr)
    else:
        step = source_step(features, heads[0], args.lr)
    features.train()
    for done in range(args.steps):
        (images, labels), target = next(batches)
        batch = images.to(args.device), labels.to(args.device), target.to(args.device)
        loss = step(batch, done / args.steps)
        if (done + 1) % 10 == 0 or done + 1 == args.steps:
            print(f"step {done + 1}/{args.steps}  source loss {float(loss):.4f}", flush=True)
    model = whole_classifier(features, heads)
    if args.method != "source":
        # In training each domain is normalized by its own batches; predict with the target's statistics.
        own = DataLoader(UnlabeledImages(ImageFiles(args.target), transform=plain), **options)
        adapt_batch_norm(model, (images.to(args.device) for images in own))
    if args.test:
        test = DataLoader(ImageFolder(str(args.test), plain), args.batch_size, num_workers=args.workers)
        if test.dataset.classes != source.classes:
            parser.error(f"{args.test} has the classes {test.dataset.classes}, {args.source} has {source.classes}")
        print(f"accuracy on {args.test}: {accuracy(model, test, args.device):.1f} %")
    if args.out:
        stored = {"backbone": args.backbone, "classes": source.classes, "state_dict": model.cpu().state_dict()}
        torch.save(stored, args.out)


if __name__ == "__main__":
    main()
