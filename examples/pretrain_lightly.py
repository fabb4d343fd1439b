"""Pretrain with MoCo v2 or SimCLR from lightly on a folder of images, with or without Tobias.

    tobias-aug masks build IMAGES -o MASKS
    python examples/pretrain_lightly.py IMAGES --tobias MASKS --out runs/tobias
    python examples/pretrain_lightly.py IMAGES --out runs/plain

Runs on a CPU, on one GPU, or on several with ``torchrun --nproc-per-node N examples/pretrain_lightly.py ...``. Started
again with the same --out, it resumes after the last checkpoint; with more --steps, on the longer run's learning rates.
What Tobias adds is marked below.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torchvision
from lightly.data import LightlyDataset, MultiViewCollate
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead, SimCLRProjectionHead
from lightly.models.utils import batch_shuffle, batch_unshuffle, deactivate_requires_grad, update_momentum
from lightly.transforms import MoCoV2Transform, SimCLRTransform
from lightning.fabric import Fabric
from torch import Tensor, nn

from tobias_aug import MaskTable, MergedViews
from tobias_aug.integrations.lightly import TobiasCollate
from tobias_aug.training import ReproducibleLoader, launch, train
from tobias_aug.training.checkpoint import NAME as CHECKPOINT


class MoCo(nn.Module):
    """MoCo v2: a query encoder, its slowly following copy for the keys, and a queue of old keys."""

    def __init__(self, backbone: nn.Module, width: int, queue: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.query = nn.Sequential(backbone, nn.Flatten(), MoCoProjectionHead(width, width, 128))
        self.key = copy.deepcopy(self.query)
        deactivate_requires_grad(self.key)
        self.criterion = NTXentLoss(temperature=0.2, memory_bank_size=(queue, 128), gather_distributed=True)
        memory = self.criterion.memory_bank
        for name in ("bank", "bank_ptr"):
            # lightly leaves the queue out of checkpoints; continuing without it would be another training.
            memory.register_buffer(name, getattr(memory, name), persistent=True)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        update_momentum(self.query, self.key, m=self.momentum)
        return self.criterion(self.query(query), self.keys(key))

    @torch.no_grad()
    def keys(self, key: Tensor) -> Tensor:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        # Shuffling over processes keeps batch normalization from telling the pair.
        shuffled, order = batch_shuffle(key, distributed=distributed)
        return batch_unshuffle(self.key(shuffled), order, distributed=distributed)

    def fill_queue(self, batches: Iterable[Any], device: torch.device) -> None:
        """Put real keys where lightly puts random vectors, so that the loss means the same from the first step on."""
        for (_, key), _, _ in batches:
            keys = nn.functional.normalize(self.keys(key.to(device)), dim=1)
            self.criterion.memory_bank(keys, update=True)


class SimCLR(nn.Module):
    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(backbone, nn.Flatten(), SimCLRProjectionHead(width, width, 128))
        self.criterion = NTXentLoss(temperature=0.5, gather_distributed=True)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.criterion(self.encoder(first), self.encoder(second))


class Cosine:
    """The learning rate of each step, from the step's number and this run's --steps alone.

    torch's own schedules bring the first run's number of steps, and its last rate, back from a checkpoint.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, rate: float, steps: int) -> None:
        self.optimizer, self.rate, self.steps, self.done = optimizer, rate, steps, 0

    def advance(self) -> float:
        rate = self.rate * 0.5 * (1 + math.cos(math.pi * self.done / self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.done += 1
        return rate

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.done}  # As torch's schedules name it, so that their checkpoints are resumed too.

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done = state["last_epoch"]


def make_loader(args: argparse.Namespace, fabric: Fabric) -> ReproducibleLoader:
    views = {"moco": MoCoV2Transform, "simclr": SimCLRTransform}[args.method](input_size=args.input_size)
    dataset: Any = LightlyDataset(str(args.images))
    if args.tobias is None:
        dataset.transform = views
        collate: Callable[[list[Any]], Any] = MultiViewCollate()
    # --- Tobias: images reach the collate function whole, and leave it as views on changed backgrounds.
    elif args.background == "batch":
        collate = TobiasCollate(MaskTable.open(args.tobias), views, p=args.p)
    else:
        dataset = MergedViews(dataset, MaskTable.open(args.tobias), views, p=args.p)
        collate = MultiViewCollate()
    # ---
    return ReproducibleLoader(
        dataset,
        args.batch_size,
        collate_fn=collate,
        seed=args.seed,
        workers=args.workers,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        pin_memory=fabric.device.type == "cuda",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of images, at any depth")
    parser.add_argument(
        "--tobias", type=Path, metavar="TABLE", help="mask table of IMAGES; without it, the plain method"
    )
    parser.add_argument(
        "--background", choices=["batch", "dataset"], default="batch", help="where backgrounds come from"
    )
    parser.add_argument("--p", type=float, default=0.3, help="probability that a view's background is changed")
    parser.add_argument("--method", choices=["moco", "simclr"], default="moco")
    parser.add_argument("--backbone", default="resnet18", help="a torchvision ResNet")
    parser.add_argument("--input-size", type=int, default=112)
    parser.add_argument("--batch-size", type=int, default=64, help="of one process")
    parser.add_argument("--queue", type=int, default=1024, help="MoCo's queue, below the number of images")
    parser.add_argument("--momentum", type=float, default=0.999, help="of MoCo's key encoder")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.06)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--precision", default="32-true", help="as Fabric takes it, for example bf16-mixed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-every", type=int, default=100)
    parser.add_argument("--log-every", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint.pt and log.jsonl")
    args = parser.parse_args()

    fabric = launch(precision=args.precision)
    fabric.seed_everything(args.seed, verbose=False)
    network = torchvision.models.get_model(args.backbone, weights=None)
    backbone = nn.Sequential(*list(network.children())[:-1])
    width = network.fc.in_features
    model: nn.Module = (
        MoCo(backbone, width, args.queue, args.momentum) if args.method == "moco" else SimCLR(backbone, width)
    )
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model = model.to(fabric.device, memory_format=torch.channels_last)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, args.lr, momentum=0.9, weight_decay=args.weight_decay)
    schedule = Cosine(optimizer, args.lr, args.steps)

    def step(batch: Any) -> dict[str, Tensor]:
        rate = schedule.advance()
        views, _, _ = batch
        first, second = (view.contiguous(memory_format=torch.channels_last) for view in views)
        loss = model(first, second)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        return {"loss": loss, "rate": torch.tensor(rate)}

    loader = make_loader(args, fabric)
    if isinstance(model, MoCo) and not (args.out / CHECKPOINT).is_file():
        batches = min(len(loader), args.queue // (args.batch_size * fabric.world_size))
        model.fill_queue(itertools.islice(loader.epoch(0), batches), fabric.device)
    model, optimizer = fabric.setup(model, optimizer)
    state = {"model": model, "optimizer": optimizer, "schedule": schedule}
    times = train(
        fabric,
        step,
        loader,
        state,
        args.out,
        steps=args.steps,
        checkpoint_every=args.checkpoint_every,
        log_every=args.log_every,
    )
    for name, seconds in times.items():
        fabric.print(f"median {name}: {seconds:.4f}")


if __name__ == "__main__":
    main()
