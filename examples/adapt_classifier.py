"""Adapt a torchvision classifier to pictures without labels, in a loop of one's own, with MCD or DANN.

    python examples/adapt_classifier.py SOURCE TARGET --method mcd --out adapted.pt
    python examples/adapt_classifier.py SOURCE TARGET --method dann --weights DEFAULT --test TEST

SOURCE has a folder of pictures for each class, TARGET pictures at any depth; names of folders in it are not read. TEST,
if given, is labelled as SOURCE is, and is looked at once, after the last step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tobias_aug.adaptation import MCD, DANNLoss, DomainDiscriminator, UnlabelledImages, reversal_schedule
from tobias_aug.images.sources import ImageFiles

Batch = tuple[Tensor, Tensor, Tensor]
Step = Callable[[Batch, float], Tensor]


def mcd_step(features: nn.Module, heads: list[nn.Module], lr: float) -> tuple[nn.Module, Step]:
    """Three kinds of update: all on the source, the heads apart on the target, the features after them."""
    mcd = MCD(features, *heads).to(next(features.parameters()).device)
    of_features, of_heads = (
        torch.optim.SGD(part.parameters(), lr, momentum=0.9, weight_decay=5e-4)
        for part in (mcd.generator, mcd.classifiers)
    )

    def descend(loss: Tensor, *optimizers: torch.optim.Optimizer) -> Tensor:
        mcd.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    def step(batch: Batch, progress: float) -> Tensor:
        source, labels, target = batch
        loss = descend(mcd.source_loss(source, labels), of_features, of_heads)
        descend(mcd.classifier_loss(source, labels, target), of_heads)
        for _ in range(mcd.updates):
            descend(mcd.generator_loss(target), of_features)
        return loss

    return mcd, step


def dann_step(features: nn.Module, head: nn.Module, width: int, lr: float) -> tuple[nn.Module, Step]:
    """One update: right on the source, and features from which no discriminator tells the domain."""
    device = next(features.parameters()).device
    model = nn.Sequential(features, head).to(device)
    criterion = DANNLoss(DomainDiscriminator(width)).to(device)
    parameters = [*model.parameters(), *criterion.parameters()]
    optimizer = torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=5e-4)

    def step(batch: Batch, progress: float) -> Tensor:
        source, labels, target = batch
        criterion.reversal.set_coefficient(reversal_schedule(progress))
        seen, unseen = features(source), features(target)
        right = F.cross_entropy(head(seen), labels)
        optimizer.zero_grad()
        (right + criterion(seen, unseen)).backward()
        optimizer.step()
        return right.detach()

    return model, step


def endless(loader: DataLoader) -> Iterator:
    while True:
        yield from loader


def accuracy(model: nn.Module, loader: DataLoader, device: str) -> float:
    model.eval()
    right = count = 0
    with torch.inference_mode():
        for images, labels in loader:
            right += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
            count += len(labels)
    return 100 * right / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="labelled pictures, a folder a class")
    parser.add_argument("target", type=Path, help="pictures of the other domain")
    parser.add_argument("--test", type=Path, help="labelled pictures of the target's domain")
    parser.add_argument("--method", choices=["mcd", "dann"], default="mcd")
    parser.add_argument("--backbone", default="resnet18", help="a torchvision ResNet")
    parser.add_argument("--weights", help="as torchvision takes it, for example DEFAULT; from nothing without it")
    parser.add_argument("--input-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32, help="of each domain")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="file of the adapted classifier's weights")
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
        endless(DataLoader(UnlabelledImages(ImageFiles(args.target), transform=augment), **options)),
        strict=True,
    )

    features = torchvision.models.get_model(args.backbone, weights=args.weights)
    width, features.fc = features.fc.in_features, nn.Identity()
    features.to(args.device)
    heads = [nn.Linear(width, len(source.classes)).to(args.device) for _ in range(2)]
    if args.method == "mcd":
        model, step = mcd_step(features, heads, args.lr)
    else:
        model, step = dann_step(features, heads[0], width, args.lr)
    model.train()
    for done in range(args.steps):
        (images, labels), target = next(batches)
        batch = images.to(args.device), labels.to(args.device), target.to(args.device)
        loss = step(batch, done / args.steps)
        if (done + 1) % 10 == 0 or done + 1 == args.steps:
            print(f"step {done + 1}/{args.steps}  source loss {float(loss):.4f}", flush=True)
    if args.test:
        test = DataLoader(ImageFolder(str(args.test), plain), args.batch_size, num_workers=args.workers)
        print(f"accuracy on {args.test}: {accuracy(model, test, args.device):.1f} %")
    if args.out:
        torch.save(model.state_dict(), args.out)


if __name__ == "__main__":
    main()
