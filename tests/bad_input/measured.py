"""Run a command line and say the most memory that it took above what it began with: ``python measured.py KIND ...``."""

from __future__ import annotations

import json
import resource
import sys


def main():
    import torch
    from torch import nn

    from tobias_aug import BorderContrast, build_masks
    from tobias_aug.cams import class_map_folder

    torch.set_num_threads(1)
    kind, images, out, max_pixels = sys.argv[1:]
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if kind == "masks":
        table = build_masks(images, BorderContrast(), out, workers=0, max_pixels=int(max_pixels), quiet=True)
        said = {"rows": len(table), "failures": table.description.failures, "keys": list(table.keys())}
    else:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        options = {"input_size": 32, "scales": (1,), "workers": 0, "device": "cpu", "max_pixels": int(max_pixels)}
        result = class_map_folder(images, network, _path(out), quiet=True, **options)
        said = {"done": result.done, "failures": [[each.key, each.reason] for each in result.failures]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**said, "megabytes": (peak - begun) / 1024}))


def _path(text):
    from pathlib import Path

    return Path(text)


if __name__ == "__main__":
    main()
