"""A build's parts on a Ray cluster: Ray Data hands out the parts, a pool of actors computes and writes them."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tobias_aug.errors import TableError, needs_extra
from tobias_aug.masks.build.compute import Job, compute_parts
from tobias_aug.masks.build.plan import Part


@dataclass(frozen=True)
class RayEngine:
    """Compute parts in actors of a Ray cluster; for ``build_masks(engine=...)``, with the extra ``[ray]``.

    The unit of work is a part. An actor writes its parts itself, atomically, so the folder of the table must be
    visible to every node under one path. Ray starts a killed actor anew and gives it its part again; a driver that is
    killed and started again continues at the first part that is not in the folder. Without a cluster (``address``,
    ``RAY_ADDRESS``, ``ray.init`` in this process, ``ray start`` on this machine) Ray is started here and stopped
    after the build, its usage statistics off.

    Args:
        actors: number of actors. Default: as many as the cluster has room for.
        gpus: GPUs of an actor; a fraction shares one. Default: one where the cluster has any.
        cpus: CPU cores of an actor: its threads, or the processes that decode for a GPU. Default: one, or the
            cluster's cores shared out over the actors if they have GPUs.
        address: of the cluster, as ``ray.init`` takes it; "local" starts one here in any case.

    Example:
        >>> build_masks("photos", RandomCNN(), "masks", engine=RayEngine(actors=8, gpus=0.5))  # doctest: +SKIP
        MaskTable('masks', rows=9469, grid=4)
    """

    actors: int | None = None
    gpus: float | int | None = None
    cpus: float | int | None = None
    address: str | None = None

    def compute_parts(self, job: Job, parts: Sequence[Part], advance: Callable[[int, int], None]) -> None:
        """Compute and write some parts, in any order; see :func:`~tobias_aug.masks.build.compute.compute_parts`.

        Raises:
            ImportError: if Ray is not installed.
            TableError: if a node does not see the table's folder.
            ValueError: if a Ray started here has not the GPUs asked for.
        """
        ray = _import_ray()
        begun_here = not ray.is_initialized()
        if begun_here:
            os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        try:
            actors, gpus, cpus = self._pool(ray.cluster_resources(), len(parts), job.device)
            workers = job.workers if job.workers is not None else int(cpus) if gpus else 0
            device = "cpu" if job.device == "auto" and not gpus else job.device
            job = replace(job, folder=job.folder.absolute(), workers=workers, device=device)
            numbers = ray.data.from_items([{"part": part.number} for part in parts], override_num_blocks=len(parts))
            done = numbers.map_batches(
                _Worker,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
                # In a list, so that Ray hands over the reference and every node fetches the job once.
                fn_constructor_kwargs={
                    "sent": [ray.put((job, {part.number: part for part in parts}))],
                    "cpus": cpus,
                    "at": str(Path.cwd()),
                },
                num_cpus=cpus,
                num_gpus=gpus or None,
            )
            done.context.enable_progress_bars = False
            done.context.print_on_execution_start = False
            for row in done.iter_rows():
                if row["error"]:
                    raise pickle.loads(row["error"])
                advance(int(row["images"]), int(row["failed"]))
        finally:
            if begun_here:
                ray.shutdown()

    def _pool(
        self, resources: dict[str, float], parts: int, device: str | torch.device
    ) -> tuple[int, float | int, float | int]:
        """Number of actors, and GPUs and cores of each."""
        have, cores = resources.get("GPU", 0.0), resources.get("CPU", 1.0)
        gpus = self.gpus if self.gpus is not None else float(have > 0 and torch.device(_plain(device)).type == "cuda")
        if gpus and not have:
            raise ValueError(f"every actor is to have {gpus:g} GPUs, and Ray knows of none; give gpus=0 to do without")
        room = have / gpus if gpus else cores
        if self.cpus is not None:
            room = min(room, cores / self.cpus)
        actors = min(parts, self.actors or max(1, int(room)))
        cpus = self.cpus if self.cpus is not None else max(1, int(cores // actors)) if gpus else 1
        return actors, gpus, cpus


class _Worker:
    """An actor: takes the job once, then part after part.

    What it raises goes back as a value, since Ray would wrap it and lose what it was.
    """

    def __init__(self, sent: list[Any], cpus: float | int, at: str) -> None:
        self.sent, self.cpus, self.at = sent, cpus, at
        self.job: Job | None = None
        self.parts: dict[int, Part] = {}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        try:
            images, failed = self._compute([int(number) for number in batch["part"]])
            return {"images": [images], "failed": [failed], "error": [b""]}
        except Exception as error:
            try:
                packed = pickle.dumps(error)
            except Exception:
                packed = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
            return {"images": [0], "failed": [0], "error": [packed]}

    def _compute(self, numbers: list[int]) -> tuple[int, int]:
        job = self.job = self.job or self._begin()
        counted: list[tuple[int, int]] = []
        parts = [self.parts[number] for number in numbers]
        # A part whose writer was killed before Ray heard of it is there already.
        pending = [part for part in parts if not part.is_in(job.folder)]
        compute_parts(job, pending, lambda *count: counted.append(count))
        return sum(len(part.indices) for part in parts), sum(failed for _, failed in counted)

    def _begin(self) -> Job:
        if Path(self.at).is_dir():
            os.chdir(self.at)  # Relative paths mean what they meant to the user.
        job: Job
        job, self.parts = _import_ray().get(self.sent[0])
        if not job.folder.is_dir():
            raise TableError(
                f"{job.folder} is not there on {socket.gethostname()}; "
                "with Ray, the table's folder must be on a file system that every node sees under one path"
            )
        torch.set_num_threads(max(1, int(self.cpus)))
        return job


def _plain(device: str | torch.device) -> str | torch.device:
    return "cuda" if device == "auto" else device


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise needs_extra("the engine ray needs Ray Data", "ray") from error
    return ray
