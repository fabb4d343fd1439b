"""Train ORANDNet in two processes; run by ``test_orand_training.py``.

torchrun --standalone --nproc-per-node 2 tests/orand/two_processes.py FOLDER
"""

import sys
from pathlib import Path

import torch

from tobias_aug.orand import MapPairs, ORANDNet, train_orandnet
from tobias_aug.training import launch


def made():
    """Without dropout, which would differ between one process and two."""
    torch.manual_seed(0)
    net = ORANDNet(padding=1, width=4)
    net.after[1].p = 0.0
    return net.double()


def trained(folder, run, batch_size):
    fabric = launch(accelerator="cpu", precision="64-true")
    net = made()
    pairs = MapPairs(folder / "cnn", folder / "vit", size=16)
    (folder / "cnn" / "1.npz").write_bytes(b"damaged")
    train_orandnet(net, pairs, folder / run, steps=2, batch_size=batch_size, lr=0.01, fabric=fabric)
    return net, fabric


def main():
    folder = Path(sys.argv[1])
    net, fabric = trained(folder, "two", batch_size=2)
    if fabric.is_global_zero:
        torch.save(net.state_dict(), folder / "found.pt")
    fabric.barrier()


if __name__ == "__main__":
    main()
