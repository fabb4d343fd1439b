"""Draw every mix of images, before and after, on photographs that ship with scikit-image and scikit-learn.

    python docs/mixes_figure.py docs/images/mixes.png

Needs the extra ``demo``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from tobias_aug import (
    BetweenClassMix,
    BetweenClassNormalize,
    BorderContrast,
    CutMix,
    Mixup,
    PatchMerge,
    RandomMerge,
    half_mask,
)
from tobias_aug.cli.demo import built_in_photographs
from tobias_aug.images import contact_sheet, read_rgb, resize_square, to_tensor

SIDE, COLUMNS = 256, 3


def load(names: tuple[str, ...]) -> Tensor:
    """The photographs as one uint8 batch."""
    found = {path.stem: path for path in built_in_photographs()}
    return torch.stack([resize_square(to_tensor(read_rgb(found[name])), SIDE) for name in names])


def to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def blends(images: Tensor, plus: bool) -> list[tuple[Tensor, float]]:
    """The first image with the second in three given ratios: parameters can be made by hand."""
    mix = BetweenClassMix(num_classes=2, plus=plus)
    normalize = BetweenClassNormalize.from_dataset(images, plus)
    mean, std = (torch.tensor(values)[:, None, None] for values in (normalize.mean, normalize.std))
    own = images.float().mean((1, 2, 3)).mean() if plus else 0.0
    shown = []
    for ratio in (0.75, 0.5, 0.25):
        params = {"partner": torch.tensor([1, 0]), "ratio": torch.tensor([ratio, 1 - ratio])}
        mixed = mix.apply((normalize(images), torch.arange(2)), params)[0][0]
        # Back to colors: BC+ has no mean of its own, so it gets that of the two.
        shown.append(((mixed * std + mean + own).clamp(0, 255).to(torch.uint8), ratio))
    return shown


def drawn(mix: Callable[..., Tensor], images: Tensor, **options: Tensor) -> list[tuple[Tensor, float]]:
    """The first image mixed with the second three times."""
    shown = []
    while len(shown) < COLUMNS:
        params = mix.make_params([images], **options)
        share = float(params["ratio"][0])
        if 0.2 < share < 0.9 and int(params["partner"][0]) == 1:
            shown.append((mix.apply((images, torch.arange(2)), params)[0][0], share))
    return shown


def draw(seed: int = 0) -> Image.Image:
    """A row per mix: the image, its partner, three mixtures."""
    generator = torch.Generator().manual_seed(seed)
    images = load(("chelsea", "coffee"))
    cells = half_mask(BorderContrast().cell_scores(images))
    rows = {
        "BetweenClassMix: the pixels in ratio r": blends(images, plus=False),
        "BetweenClassMix(plus=True): zero-mean images as waves, seen in ratio r": blends(images, plus=True),
        "Mixup: one ratio for the batch": drawn(Mixup(2, generator=generator), images),
        "CutMix: one rectangle for the batch": drawn(CutMix(2, generator=generator), images),
        "PatchMerge: the object's cells stay (BorderContrast)": drawn(
            PatchMerge(1.0, generator=generator), images, masks=cells, partner=torch.tensor([1, 0])
        ),
        "RandomMerge: any cells stay": drawn(
            RandomMerge(1.0, generator=generator), images, partner=torch.tensor([1, 0])
        ),
    }
    both = [to_pil(image) for image in images]
    shown_rows = [both + [to_pil(image) for image, _ in shown] for shown in rows.values()]
    labels = [f"{name}; own share {', '.join(f'{share:.2f}' for _, share in shown)}" for name, shown in rows.items()]
    return contact_sheet(shown_rows, ("image", "partner", "mixed", "mixed", "mixed"), labels, tile=168)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="image to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw(args.seed).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
