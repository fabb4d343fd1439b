"""Refine the class maps of a folder by a random walk between the edges of a trained IRN."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Shaped

from tobias_aug.class_maps import ClassMaps, at_size, each_with_image, require_rgb
from tobias_aug.irn.net import CROP, FILE, STRIDE, IRNet, read_irn
from tobias_aug.irn.walk import random_walk
from tobias_aug.runtime.folder import FolderResult
from tobias_aug.runtime.precision import autocast, require_precision
from tobias_aug.weights.seeding import weight_hash


def walk_class_maps(
    network: IRNet,
    maps: ClassMaps,
    image: Shaped[np.ndarray, "..."],
    *,
    beta: float | int = 10,
    steps: int = 256,
    crop_size: int = CROP,
    precision: str = "fp32",
) -> ClassMaps:
    """Refine an image's class maps by IRN: edges, random walk, and division by the maximum over all classes.

    Args:
        network: trained, in eval mode; its device does the work.
        maps: of any size; brought to a quarter of the image's.
        image: RGB, uint8 (height, width, 3).
        beta, steps: see :func:`~tobias_aug.irn.walk.random_walk`.
        crop_size: side of the crops that the network was trained on.
        precision: "fp32", or "bf16" for the network under autocast; the walk runs in single precision.

    Returns:
        Maps of the image's size in [0, 1]; IRN takes a class where it is above 0.25.

    Raises:
        ValueError: if the image is not RGB of uint8, or the precision is unknown.
    """
    require_rgb(image)
    require_precision(precision)
    height, width = image.shape[:2]
    size = (-(-height // STRIDE), -(-width // STRIDE))
    with autocast(network.edge_head.weight.device, precision):
        edges = network.edges(torch.from_numpy(np.array(image)).permute(2, 0, 1), crop_size).float()
    seeds = torch.from_numpy(np.array(at_size(maps, size).maps)).to(edges.device)
    walked = random_walk(seeds, edges, beta=beta, steps=steps)
    if len(maps.keys):
        walked = F.interpolate(walked[None], scale_factor=STRIDE, mode="bilinear")[0]
    else:
        walked = walked.new_zeros(0, size[0] * STRIDE, size[1] * STRIDE)
    walked = walked[:, :height, :width]
    # One maximum for all classes: a weak class stays weak.
    top = walked.max() if walked.numel() else 0
    about = {
        "stage": "irn",
        "thresholds": None,
        "ground_truth_labels": maps.metadata.get("ground_truth_labels"),
        "beta": beta,
        "steps": steps,
        "source": dict(maps.metadata),
    }
    return ClassMaps(maps.keys, (walked / top if top > 0 else walked).cpu().numpy(), about)


def walk_folder(
    images: str | Path,
    maps: str | Path,
    run: str | Path,
    out: str | Path,
    *,
    beta: float | int = 10,
    steps: int = 256,
    extension: str = ".npz",
    device: str = "cpu",
    precision: str = "fp32",
    quiet: bool = False,
) -> FolderResult:
    """Refine each file of class maps by the network of a run; see :func:`walk_class_maps` for the options.

    Maps without an image are listed as failures; images without a class are counted in the result. Run it again to
    resume after an interruption: a file that is there is complete and is left alone.

    Raises:
        FileNotFoundError: if the run has not been finished.
        ValueError: if a folder holds no class maps or no images, or the precision is unknown.
        TobiasError: if ``out`` was made by another network or with other options, or is being written.
    """
    require_precision(precision)
    network, crop_size = read_irn(Path(run) / FILE)
    network.to(device)
    options: dict[str, Any] = {"beta": beta, "steps": steps, "crop_size": crop_size}
    if precision != "fp32":
        options["precision"] = precision
    settings = {"stage": "irn", "network": weight_hash(network), **options}
    walk = partial(walk_class_maps, network, **options)
    return each_with_image(maps, images, out, extension, settings, walk, "random walk", quiet)
