"""The networks of ReDO together, and the losses that a training step descends."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tobias_aug.redo.networks import Discriminator, InformationEncoder, MaskNetwork, RegionGenerator
from tobias_aug.redo.options import ReDOOptions
from tobias_aug.redo.redraw import compose, discriminator_loss, generator_loss, information_loss, redraw


class ReDOModel(nn.Module):
    """Mask network, one generator per region, discriminator and information encoder.

    Args:
        options: say what is built.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import ReDOOptions
        >>> from tobias_aug.redo.model import ReDOModel
        >>> model = ReDOModel(ReDOOptions(size=32, mask_width=8, generator_width=8, discriminator_width=8))
        >>> model.mask(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(self, options: ReDOOptions) -> None:
        super().__init__()
        self.options = options
        self.mask = MaskNetwork(options.regions, options.mask_width)
        self.generators = nn.ModuleList(
            RegionGenerator(
                options.size, options.generator_width, options.z_size, norm=options.norm, attention=options.attention
            )
            for _ in range(options.regions)
        )
        self.discriminator = Discriminator(options.size, options.discriminator_width, attention=options.attention)
        self.encoder = InformationEncoder(options.size, options.regions, options.z_size, options.discriminator_width)

    def noise(self, batch: int, generator: torch.Generator) -> Float[Tensor, "batch regions z"]:
        """Draw the noise of every region from the standard normal distribution, on the CPU."""
        return torch.randn(batch, self.options.regions, self.options.z_size, generator=generator)

    def generator_losses(
        self, images: Float[Tensor, "batch 3 size size"], noise: Float[Tensor, "batch regions z"], region: int | None
    ) -> dict[str, Tensor]:
        """Return what mask network, generators and encoder minimize: ``generator`` and ``information``.

        Args:
            images: in [-1, 1].
            noise: of every region; that of one alone is used where one is redrawn.
            region: the one to redraw (the paper), or ``None`` for each in turn (the official code), where the
                information term is that of the image that is drawn anew everywhere.
        """
        masks = self.mask(images)
        drawn = self._drawn(masks, noise, region)
        fakes = self._fakes(images, masks, drawn)
        if region is None:
            estimated, wanted = self.encoder(compose(masks, torch.stack(list(drawn.values()), 1))), noise
        else:
            estimated, wanted = self.encoder(fakes)[:, region], noise[:, region]
        return {
            "generator": generator_loss(self.discriminator(fakes)),
            "information": self.options.lambda_z * information_loss(estimated, wanted),
            "smallest": masks.detach().mean((0, 2, 3)).min(),
        }

    def discriminator_loss(
        self,
        images: Float[Tensor, "batch 3 size size"],
        real: Float[Tensor, "real 3 size size"],
        noise: Float[Tensor, "batch regions z"],
        region: int | None,
    ) -> Float[Tensor, ""]:
        """Return the hinge loss; no gradient reaches what made the redrawn images."""
        with torch.no_grad():
            masks = self.mask(images)
            fakes = self._fakes(images, masks, self._drawn(masks, noise, region))
        # One pass over both, since no layer of the discriminator mixes images.
        scores = self.discriminator(torch.cat([real, fakes]))
        return discriminator_loss(scores[: len(real)], scores[len(real) :])

    def _drawn(self, masks: Tensor, noise: Tensor, region: int | None) -> dict[int, Tensor]:
        chosen = range(self.options.regions) if region is None else [region]
        return {each: self.generators[each](masks[:, each : each + 1], noise[:, each]) for each in chosen}

    @staticmethod
    def _fakes(images: Tensor, masks: Tensor, drawn: dict[int, Tensor]) -> Tensor:
        return torch.cat([redraw(images, masks, colors, region) for region, colors in drawn.items()])
