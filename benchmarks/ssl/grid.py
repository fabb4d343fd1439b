"""The grids of pretraining runs: read from ``grid.json``, spread into runs, and how many hours they take."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.command import CommandError
from benchmarks.ssl.arms import ARMS, run_name

FILE = Path(__file__).with_name("grid.json")
AXES = ("method", "arch", "transforms", "images", "epochs", "p", "arm")
TESTS = ("knn", "linear", "fine-tune", "fine-tune mixup")


@dataclass(frozen=True)
class Cell:
    """One run of a grid but for its seed: a value of each axis."""

    method: str
    arch: str
    arm: str
    p: float
    epochs: int
    images: int | None
    transforms: str

    @property
    def name(self) -> str:
        """What tells the run in a record; a seed is its key."""
        parts = [self.method, self.arch, run_name(self.arm, self.p), f"{self.epochs} epochs"]
        parts += [f"{self.images} images"] if self.images else []
        parts += [self.transforms] if self.transforms != "full" else []
        return ", ".join(parts)

    @property
    def base(self) -> str:
        """Name of the run without a mix that this one is compared with."""
        return Cell(self.method, self.arch, "none", 0.0, self.epochs, self.images, self.transforms).name


def read_grids(path: Path = FILE) -> dict[str, dict[str, Any]]:
    """Return the grids of a file by name.

    Raises:
        CommandError: if it is no JSON, or a grid lacks an axis or has unknown arms or tests.
    """
    try:
        grids: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read as a grid ({error})") from error
    for name, grid in grids.items():
        if lacking := [axis for axis in (*AXES, "set", "queue", "tests") if axis not in grid]:
            raise CommandError(f"grid {name} of {path} lacks {', '.join(lacking)}")
        if unknown := (set(grid["arm"]) - set(ARMS)) | (set(grid["tests"]) - set(TESTS)):
            raise CommandError(f"grid {name} of {path} has {', '.join(sorted(unknown))}, which is no arm and no test")
    return grids


def cells_of(grid: dict[str, Any]) -> list[Cell]:
    """Return the runs of a grid, each once: without a mix there is no p."""
    cells = [Cell(**dict(zip(AXES, values, strict=True))) for values in itertools.product(*(grid[a] for a in AXES))]
    return list({cell.name: cell for cell in cells}.values())


def images_per_second(method: str, arch: str, size: int, batch_size: int, device: str, steps: int = 2) -> float:
    """Measure a method's training steps, on noise and without augmentation."""
    from benchmarks.ssl.methods import make_method
    from benchmarks.ssl.networks import make_network

    network = make_network(arch, 10, "small", 0)
    width, network.fc = network.fc.in_features, torch.nn.Identity()
    model = make_method(method, network, width, 8 * batch_size).to(device, memory_format=torch.channels_last)
    views = [torch.randn(batch_size, 3, size, size, device=device).to(memory_format=torch.channels_last) for _ in "ab"]
    start = perf_counter()
    for step in range(steps + 1):
        if step == 1:  # The first warms up.
            start = perf_counter()
        # Reading the loss waits for the device.
        loss = model(*views)
        loss.backward()
        float(loss.detach())
    return steps * batch_size / (perf_counter() - start)
