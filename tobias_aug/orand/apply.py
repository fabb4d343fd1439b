"""Run a trained ORANDNet on a folder of class maps."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from tobias_aug.class_maps import ClassMaps, MatchedFolders, read_class_maps, stride_of, write_class_maps
from tobias_aug.orand.folder import fuse_class_maps, require_unit_range
from tobias_aug.orand.net import ORANDNet
from tobias_aug.runtime.devices import pick_device
from tobias_aug.runtime.folder import FolderResult, each_file
from tobias_aug.runtime.precision import autocast, require_precision
from tobias_aug.runtime.run_settings import digest

CHECKPOINT = "checkpoint.pt"


def load_orandnet(run: str | Path) -> tuple[ORANDNet, dict[str, Any]]:
    """Return the trained network of a run of :func:`~tobias_aug.orand.train_orandnet`.

    Args:
        run: the folder, or its checkpoint. Only tensors and plain containers are unpickled.

    Returns:
        The network in eval mode, and what it was trained on: "size", "variant", "offset", and "step".

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is no checkpoint of ORANDNet.
    """
    path = _checkpoint(run)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; train one with tobias-aug orand train")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        net = ORANDNet(**stored["about"]["network"])
        net.load_state_dict(stored["model"])
        about = {**stored["about"]["pairs"], "step": int(stored["step"])}
    except (pickle.UnpicklingError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is no checkpoint of ORANDNet ({type(error).__name__}: {error})") from error
    return net.eval(), about


def apply_orandnet(
    first: str | Path,
    second: str | Path | None,
    run: str | Path,
    out: str | Path,
    *,
    extension: str = ".npz",
    ground_truth_labels: bool | None = None,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    quiet: bool = False,
) -> FolderResult:
    """Write what a trained network predicts for each image's OR maps; run it again to resume after an interruption.

    Maps are fused and resized as in training, and the predictions are resized to the maps' own size; see
    :meth:`~tobias_aug.ORANDNet.predict`.

    Args:
        first: a classifier's class maps; the OR maps themselves if ``second`` is ``None``.
        second: the other classifier's.
        run: folder of the training, or its checkpoint.
        out: folder of the results, one file per image, and of ``failures.jsonl``.
        extension: ".npz" or ".safetensors".
        ground_truth_labels: whether the classes are the image's true ones. Default: what the maps' metadata have.
        device: "auto" takes a GPU if there is one.
        precision: "fp32" or "bf16".
        quiet: show no progress.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if a folder holds no class maps, or the folders have no name in common.
        TobiasError: if ``out`` was made with other options, or is being written.
    """
    require_precision(precision)
    net, about = load_orandnet(run)
    device = pick_device(device)
    net.to(device).to(memory_format=torch.channels_last)
    matched = MatchedFolders(*(folder for folder in (first, second) if folder is not None))

    def work(name: str, target: Path) -> bool:
        maps = [read_class_maps(path) for path in matched.paths(name)]
        either = maps[0]
        if len(maps) == 2:
            either = fuse_class_maps(maps[0], maps[1], "or", variant=about["variant"], offset=about["offset"])
        elif about["variant"] == "paper":
            require_unit_range(either, "OR")
        with autocast(device, precision):
            predicted = net.predict(torch.from_numpy(either.maps).to(device), about["size"])
        known = either.metadata.get("ground_truth_labels")
        metadata = {
            "stage": "orandnet",
            "thresholds": None,
            "ground_truth_labels": known if ground_truth_labels is None else ground_truth_labels,
            **stride_of(either),
            "network": {"run": str(Path(run).resolve()), "step": about["step"], **net.settings()},
            "or": dict(either.metadata),
        }
        write_class_maps(target, ClassMaps(either.keys, predicted.cpu().numpy(), metadata))
        return len(either.keys) > 0

    settings = {
        "stage": "orandnet",
        "maps": matched.sources(),
        "checkpoint": digest(_checkpoint(run)),
        "precision": precision,
        "ground_truth_labels": ground_truth_labels,
    }
    return each_file(matched.names, Path(out), extension, settings, work, "ORANDNet", quiet)


def _checkpoint(run: str | Path) -> Path:
    path = Path(run)
    return path / CHECKPOINT if path.is_dir() else path
