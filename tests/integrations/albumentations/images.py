"""Images for the tests of the transforms."""

import numpy as np


def image(shape=(40, 60, 3), dtype="uint8", seed=0):
    values = np.random.default_rng(seed).random(shape)
    return (values * 255).astype(dtype) if dtype == "uint8" else values.astype(dtype)
