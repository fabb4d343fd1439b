"""Time of a training step beside a plain PyTorch loop of the same networks, by turns.

    python -m benchmarks.gan.speed --width 32 --json FILE

The plain loop is that of PyTorch's DCGAN tutorial: no running mean, no checks. Medians over ``--repeats`` steps.
Needs the extra ``train``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.command import command, new_parser, positive
from benchmarks.report import interleaved, publish, rate_row


def plain_step(size: int, width: int, batch: int, device: str) -> Callable[[Tensor], None]:
    """Return a step of the tutorial's loop."""
    from tobias_aug.gan import GANModel, GANOptions

    model = GANModel.of(GANOptions(size=size, width=width)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator, discriminator = model.generator, model.discriminator
    players = [torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999)) for net in (discriminator, generator)]
    ones, zeros = torch.ones(batch, device=device), torch.zeros(batch, device=device)

    def descend(net: nn.Module, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        net.zero_grad()
        loss.backward()
        optimizer.step()

    def step(pixels: Tensor) -> None:
        real = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        fake = generator(torch.randn(batch, 100, device=device))
        entropy = F.binary_cross_entropy_with_logits
        loss = entropy(discriminator(real), ones) + entropy(discriminator(fake.detach()), zeros)
        descend(discriminator, loss, players[0])
        descend(generator, entropy(discriminator(fake), ones), players[1])

    return step


@command
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--size", type=positive, default=64)
    parser.add_argument("--width", type=positive, default=64)
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--repeats", type=positive, default=10)
    parser.add_argument("--precisions", default="fp32", help="fp32, or fp32,bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the rows here")
    args = parser.parse_args()
    from tobias_aug.gan import GANOptions
    from tobias_aug.gan.step import GANStep
    from tobias_aug.training import launch_on

    shape = {"size": args.size, "width": args.width, "batch_size": args.batch_size}
    steps: dict[str, Callable[[Tensor], object]] = {
        "plain loop": plain_step(args.size, args.width, args.batch_size, args.device)
    }
    for precision in args.precisions.split(","):
        for model in ("dcgan", "logan"):
            options = GANOptions.preset(model, **shape)
            steps[f"{model}, {precision}"] = GANStep(launch_on(args.device, precision), options)
    pixels = torch.randint(256, (args.batch_size, 3, args.size, args.size), dtype=torch.uint8, device=args.device)
    functions = {name: partial(step, pixels) for name, step in steps.items()}
    seconds = interleaved(functions, args.repeats, args.device, lead=1)
    rows = [rate_row(name, found, seconds["plain loop"], args.batch_size) for name, found in seconds.items()]
    publish(rows, args.json, **shape, precisions=args.precisions)


if __name__ == "__main__":
    main()
