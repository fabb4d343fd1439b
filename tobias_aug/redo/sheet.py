"""A sheet to look at while ReDO trains: images, their masks, and each region redrawn with the same noise."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from tobias_aug.images.draw import contact_sheet
from tobias_aug.images.squares import to_pil, to_signed
from tobias_aug.redo.model import ReDOModel
from tobias_aug.redo.networks import MaskNetwork
from tobias_aug.redo.redraw import redraw

COLORS = ((40, 40, 40), (245, 245, 245), (220, 80, 40), (60, 120, 220), (80, 180, 80), (230, 190, 50))


@torch.no_grad()
def draw_sheet(
    model: ReDOModel, mask: MaskNetwork, images: UInt8[Tensor, "images 3 size size"], drawings: int = 2, tile: int = 96
) -> Image.Image:
    """Draw a row per image: the image, its regions, and each region redrawn, a column per noise (Figure 2).

    Args:
        model: the networks.
        mask: the network that gives the masks.
        images: the rows.
        drawings: noises per region; a column has the same one in every row.
        tile: side of the tiles in pixels.
    """
    device, regions = next(mask.parameters()).device, model.options.regions
    real = to_signed(images.to(device))
    noise = torch.randn(drawings, regions, model.options.z_size, generator=torch.Generator().manual_seed(0)).to(device)
    training = model.training
    model.eval()
    masks = mask(real)
    columns = [real, _colored(masks)]
    titles = ["image", "regions"]
    for region in range(regions):
        for number in range(drawings):
            z = noise[number, region].expand(len(real), -1)
            drawn = model.generators[region](masks[:, region : region + 1], z)
            columns.append(redraw(real, masks, drawn, region))
            titles.append(f"{region}, z {number}")
    model.train(training)
    rows = [[to_pil(column[row]) for column in columns] for row in range(len(real))]
    return contact_sheet(rows, titles, [""] * len(rows), tile)


def _colored(masks: Float[Tensor, "images regions height width"]) -> Float[Tensor, "images 3 height width"]:
    colors = torch.tensor([COLORS[region % len(COLORS)] for region in range(masks.shape[1])], device=masks.device)
    return torch.einsum("brhw,rc->bchw", masks.float(), colors / 127.5 - 1)
