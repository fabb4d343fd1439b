"""What a training of a GAN leaves behind: the generator, and images that it makes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torchvision.utils import make_grid

from tobias_aug.gan.bidirectional import Encoder
from tobias_aug.gan.model import draw_noise, new_generator
from tobias_aug.gan.options import GANOptions
from tobias_aug.images.squares import to_pixels
from tobias_aug.runtime.files import atomic_path, make_folder

FILE = "gan.pt"


@dataclass(frozen=True)
class GANResult:
    """A trained generator.

    Attributes:
        generator: in eval mode, so that an image does not depend on the others of its batch.
        options: of the training.
        step: number of steps that were made.
        encoder: of a bidirectional GAN, in eval mode.
    """

    generator: nn.Module
    options: GANOptions
    step: int
    encoder: nn.Module | None = None

    def noise(self, count: int, seed: int = 0) -> Float[Tensor, "count z"]:
        """Draw noise of the prior that the generator was trained with."""
        return draw_noise(count, self.options, torch.Generator().manual_seed(seed))

    def sample(self, count: int, seed: int = 0, batch_size: int = 64) -> UInt8[Tensor, "count 3 size size"]:
        """Return generated images."""
        return self.images(self.noise(count, seed), batch_size)

    @torch.no_grad()
    def images(self, z: Float[Tensor, "count z"], batch_size: int = 64) -> UInt8[Tensor, "count 3 size size"]:
        """Return what the generator makes of noise, on the CPU."""
        device = next(self.generator.parameters()).device
        return torch.cat([to_pixels(self.generator(part.to(device))).cpu() for part in z.split(batch_size)])


def interpolated(
    first: Float[Tensor, "rows z"], second: Float[Tensor, "rows z"], steps: int, prior: str
) -> Float[Tensor, "rows steps z"]:
    """Return noise on the way from one to another, both included.

    Noise of the normal prior goes along the sphere, so that its length stays likely; uniform noise goes straight.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import interpolated
        >>> interpolated(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 3, "normal")[0, 1].tolist()
        [0.7071067690849304, 0.7071067690849304]
    """
    share = torch.linspace(0, 1, steps)[None, :, None]
    start, end = first[:, None], second[:, None]
    if prior == "uniform":
        return torch.lerp(start.expand(-1, steps, -1), end, share)
    angle = torch.nn.functional.cosine_similarity(first, second, dim=1).clamp(-0.9999, 0.9999).acos()[:, None, None]
    return (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / angle.sin()


def grid(images: UInt8[Tensor, "count 3 height width"], columns: int = 8) -> Image.Image:
    """Lay images out in rows."""
    return Image.fromarray(make_grid(images, columns, padding=2, pad_value=255).permute(1, 2, 0).numpy())


def save_result(path: Path, result: GANResult) -> None:
    """Write a result atomically."""
    content = io.BytesIO()
    stored = {
        "format": 1,
        "options": result.options.as_dict(),
        "step": result.step,
        "generator": _weights(result.generator),
        "encoder": None if result.encoder is None else _weights(result.encoder),
    }
    torch.save(stored, content)
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}


def read_result(run: str | Path) -> GANResult:
    """Read the result of a run, given its folder, its ``gan.pt`` or one of its ``generators/*.pt``.

    Raises:
        FileNotFoundError: if the run has not been finished.
        ValueError: if the file is another's.
    """
    path = Path(run)
    path = path / FILE if path.suffix != ".pt" else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; finish the training by the same tobias-aug gan train command")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        options = GANOptions(**stored["options"])
        with torch.random.fork_rng(devices=[]):
            generator = new_generator(options)
            encoder = Encoder(options.size, options.width, options.z_size) if options.bidirectional else None
        generator.load_state_dict(stored["generator"])
        if encoder is not None:
            encoder.load_state_dict(stored["encoder"])
            encoder.eval()
        return GANResult(generator.eval(), options, int(stored["step"]), encoder)
    except Exception as error:
        raise ValueError(f"{path} is no result of tobias-aug gan train ({type(error).__name__}: {error})") from error
