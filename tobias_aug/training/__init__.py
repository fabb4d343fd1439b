"""One training loop on Lightning Fabric, which every method and example uses; needs the extra ``train``.

A training is a function that makes a step::

    fabric = launch()
    model, optimizer = fabric.setup(network, torch.optim.SGD(network.parameters(), 0.1))
    loader = ReproducibleLoader(dataset, batch_size=16, seed=0)

    def step(batch):
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        return {"loss": loss}

    state = {"model": model, "optimizer": optimizer}
    train(fabric, step, loader, state, Path("RUN"), steps=1000, checkpoint_every=100)

The same call continues a training that was stopped, with the batch that it would have seen.
"""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.training.checkpoint import load_checkpoint as load_checkpoint
    from tobias_aug.training.checkpoint import save_checkpoint as save_checkpoint
    from tobias_aug.training.fabric import launch as launch
    from tobias_aug.training.fabric import launch_on as launch_on
    from tobias_aug.training.loader import Loader as Loader
    from tobias_aug.training.loader import ReproducibleLoader as ReproducibleLoader
    from tobias_aug.training.loop import train as train
    from tobias_aug.training.prefetch import Prefetcher as Prefetcher

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "fabric": ["launch", "launch_on"],
        "loader": ["Loader", "ReproducibleLoader"],
        "loop": ["train"],
        "checkpoint": ["save_checkpoint", "load_checkpoint"],
        "prefetch": ["Prefetcher"],
    },
)
