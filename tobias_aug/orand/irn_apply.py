"""Walk the class maps of a folder between the edges that a trained IRN sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8

from tobias_aug.images.decode import read_rgb, to_tensor
from tobias_aug.images.sources import image_files_by_name
from tobias_aug.masks.formats import ClassMaps, class_map_files, read_class_maps, write_class_maps
from tobias_aug.orand.folder_runs import FolderResult, each_file
from tobias_aug.orand.irn import CROP, FILE, STRIDE, IRNet, read_irn
from tobias_aug.orand.irn_walk import random_walk
from tobias_aug.orand.refine import resize_maps
from tobias_aug.weights import weight_hash


def walk_class_maps(
    network: IRNet,
    maps: ClassMaps,
    image: UInt8[np.ndarray, "height width 3"],
    *,
    beta: float | int = 10,
    steps: int = 256,
    crop_size: int = CROP,
) -> ClassMaps:
    """Refine an image's class maps by IRN: edges, random walk, and division by the maximum over all classes.

    Args:
        network: trained, in eval mode; its device does the work.
        maps: of any size; brought to a quarter of the picture's.
        image: RGB, 0 to 255.
        beta, steps: see :func:`~tobias_aug.orand.irn_walk.random_walk`.
        crop_size: side of the crops that the network was trained on.

    Returns:
        Maps of the picture's size in [0, 1]; IRN takes a class where it is above 0.25.
    """
    height, width = image.shape[:2]
    size = (-(-height // STRIDE), -(-width // STRIDE))
    edges = network.edges(torch.from_numpy(np.array(image)).permute(2, 0, 1), crop_size)
    seeds = torch.from_numpy(np.array(resize_maps(maps.maps, size))).to(edges.device)
    walked = random_walk(seeds, edges, beta=beta, steps=steps)
    if len(maps.keys):
        walked = F.interpolate(walked[None], scale_factor=STRIDE, mode="bilinear")[0]
    else:
        walked = walked.new_zeros(0, size[0] * STRIDE, size[1] * STRIDE)
    walked = walked[:, :height, :width]
    # One maximum for all classes: a weak class stays weak. Nothing to divide where every map is zero.
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
    images: Path,
    maps: Path,
    run: Path,
    out: Path,
    *,
    beta: float | int = 10,
    steps: int = 256,
    extension: str = ".npz",
    device: str = "cpu",
    quiet: bool = False,
) -> FolderResult:
    """Refine each file of class maps by the network of a run; see :func:`walk_class_maps` for the options.

    Maps without a picture are listed as failures. Run it again to go on after an interruption; a file that is there is
    complete and is left alone.

    Raises:
        FileNotFoundError: if the run has not been finished.
        ValueError: if a folder holds no class maps or no pictures.
        TobiasError: if ``out`` was made by another network or with other options, or is being written.
    """
    network, crop_size = read_irn(run / FILE)
    network.to(device)
    files, pictures = class_map_files(maps), image_files_by_name(images)

    def work(name: str, target: Path) -> None:
        if name not in pictures:
            raise FileNotFoundError(f"no picture of this name in {images}")
        image = to_tensor(read_rgb(pictures[name])).permute(1, 2, 0).numpy()
        content = read_class_maps(files[name])
        write_class_maps(target, walk_class_maps(network, content, image, beta=beta, steps=steps, crop_size=crop_size))

    settings = {"stage": "irn", "images": str(images.resolve()), "maps": str(maps.resolve())}
    options = {"network": weight_hash(network), "crop_size": crop_size, "beta": beta, "steps": steps}
    return each_file(list(files), out, extension, {**settings, **options}, work, "random walk", quiet)
