"""GANs of objects that were cut out: DCGAN, SAGAN and ResNets, LOGAN and LOGAN-B (Coiduras and Van de Mierop, 2020)."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.gan.augment import DiffAugment as DiffAugment
    from tobias_aug.gan.bidirectional import Encoder as Encoder
    from tobias_aug.gan.bidirectional import PairDiscriminator as PairDiscriminator
    from tobias_aug.gan.bidirectional import encoder_loss as encoder_loss
    from tobias_aug.gan.bidirectional import pair_loss as pair_loss
    from tobias_aug.gan.bidirectional import reconstruction_loss as reconstruction_loss
    from tobias_aug.gan.dcgan import DCGANDiscriminator as DCGANDiscriminator
    from tobias_aug.gan.dcgan import DCGANGenerator as DCGANGenerator
    from tobias_aug.gan.latent import latent_mask as latent_mask
    from tobias_aug.gan.latent import natural_step as natural_step
    from tobias_aug.gan.latent import optimized_latent as optimized_latent
    from tobias_aug.gan.latent import step_penalty as step_penalty
    from tobias_aug.gan.losses import discriminator_loss as discriminator_loss
    from tobias_aug.gan.losses import generator_loss as generator_loss
    from tobias_aug.gan.losses import orthogonal_penalty as orthogonal_penalty
    from tobias_aug.gan.losses import r1_penalty as r1_penalty
    from tobias_aug.gan.model import GANModel as GANModel
    from tobias_aug.gan.options import PRESETS as PRESETS
    from tobias_aug.gan.options import GANOptions as GANOptions
    from tobias_aug.gan.resnet import ResNetDiscriminator as ResNetDiscriminator
    from tobias_aug.gan.resnet import ResNetGenerator as ResNetGenerator
    from tobias_aug.gan.result import GANResult as GANResult
    from tobias_aug.gan.result import grid as grid
    from tobias_aug.gan.result import interpolated as interpolated
    from tobias_aug.gan.result import read_result as read_result
    from tobias_aug.gan.score import score_generator as score_generator
    from tobias_aug.gan.train import train_gan as train_gan

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "augment": ["DiffAugment"],
        "bidirectional": [
            "Encoder",
            "PairDiscriminator",
            "pair_loss",
            "encoder_loss",
            "reconstruction_loss",
        ],
        "dcgan": ["DCGANDiscriminator", "DCGANGenerator"],
        "latent": ["latent_mask", "natural_step", "optimized_latent", "step_penalty"],
        "losses": ["discriminator_loss", "generator_loss", "orthogonal_penalty", "r1_penalty"],
        "model": ["GANModel"],
        "options": ["PRESETS", "GANOptions"],
        "resnet": ["ResNetDiscriminator", "ResNetGenerator"],
        "result": ["GANResult", "grid", "interpolated", "read_result"],
        "score": ["score_generator"],
        "train": ["train_gan"],  # Needs lightning, which the rest does not.
    },
)
