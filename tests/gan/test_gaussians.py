"""LOGAN-B's acceptance test: eight Gaussians come back, as they do not from a BiGAN."""

import pytest

pytest.importorskip("lightning", reason="needs the extra train")

from benchmarks.gan.gaussians import ad_hoc_error

SETTINGS = {"batch_size": 256, "lr": 1e-3, "encoder_target": "paper"}


@pytest.mark.slow
def test_logan_b_brings_points_back_ten_times_better_than_bigan():
    bigan, logan_b = (ad_hoc_error(model, 0, steps=4000, **SETTINGS) for model in ("bigan", "logan-b"))
    assert logan_b < bigan / 10
