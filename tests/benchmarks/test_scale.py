"""The plan for very many images: its arithmetic by hand, and the command on a few small images."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.scale import plan

pytestmark = pytest.mark.slow


def test_the_plan_is_the_constants_times_the_images():
    """Round numbers, computed by hand."""
    measured = {scale.BYTES: 1e5, scale.DECODE: 3.6, scale.NETWORK: 36.0, scale.OPERATIONS: 8.0, scale.ROW: 100.0}
    measured |= {scale.OPENED: 50.0, scale.KEY: 40.0, scale.PLAN: 3.6, scale.HEADER: 36.0}
    args = argparse.Namespace(images=1e9, gpu_peak=40.0, gpu_share=0.5, gpu_price=2.0, core_price=0.1)
    rows = {row.name: (pytest.approx(row.value), row.unit) for row in plan(args, measured)}
    hours = 1e9 / 2500 / 3600
    assert rows == {
        "assumed: fp32 peak of a GPU": (40, "TFLOP/s"),
        "assumed: share of the peak that is reached": (50, "%"),
        "assumed: price of a GPU hour": (2, "USD"),
        "assumed: price of a core hour": (0.1, "USD"),
        "plan: images": (1e9, "images"),
        "plan: bytes to read": (100, "TB"),
        "plan: decoding": (1000, "core hours"),
        "plan: network on CPUs": (10_000, "core hours"),
        "plan, assumed: images a second and GPU": (2500, "images/s"),
        "plan, assumed: network on GPUs": (hours, "GPU hours"),
        "plan, assumed: cores that feed a GPU": (9, "cores"),
        "plan, assumed: cost": (2 * hours + 100, "USD"),
        "plan: parts": (15_259, "parts"),
        "plan: table in Parquet": (100, "GB"),
        "plan: table opened": (50, "GB"),
        "plan: keys in every rank": (40, "GB"),
        "plan: planning in every rank": (1, "core hours"),
        "plan: headers of tar shards in every rank": (10, "core hours"),
    }


def test_the_command_measures_what_the_plan_needs(photos, tmp_path):
    out = tmp_path / "out.json"
    small = ["--images", "1e6", "--decoded", "4", "--table-rows", "2000", "--json", str(out)]
    command = [sys.executable, "-m", "benchmarks.scale", "--data", str(photos), *small]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True)
    record = json.loads(out.read_text())
    rows = {row["name"]: row for row in record["rows"]}
    files = [path.stat().st_size for path in photos.rglob("*.jpg")]
    assert rows[scale.BYTES]["value"] == pytest.approx(sum(files) / len(files))
    assert rows[scale.OPERATIONS]["value"] == pytest.approx(8.2, abs=0.1)  # 4.1 G multiplications and additions each
    assert rows[scale.ROW]["value"] > 0.9 * 64  # 16 scores of 4 bytes
    for name in (scale.DECODE, scale.NETWORK, scale.PLAN, scale.HEADER, scale.KEY):
        assert rows[name]["value"] > 0
    assert rows["plan: parts"]["value"] == 16
    (origin,) = record["origins"].values()
    assert origin["hardware"]["threads"] == 1
