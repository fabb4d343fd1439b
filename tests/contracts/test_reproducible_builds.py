"""One seed, one table: whatever the batch size, the number of workers and of ranks; Ray's is in test_ray_engine."""

import contextlib

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tobias_aug import RandomCNN, UnfinishedError, build_masks

pytestmark = pytest.mark.slow

OPTIONS = {"grid": 2, "part_size": 5, "quiet": True}


@pytest.fixture
def reference(photos, tmp_path):
    return build_masks(photos, RandomCNN("resnet18", input_size=64), tmp_path / "reference", workers=0, **OPTIONS)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch_size=st.integers(1, 7),
    workers=st.integers(0, 2),
    order=st.integers(1, 3).flatmap(lambda world: st.permutations(range(world))),
)
def test_same_seed_same_cells(photos, reference, tmp_path_factory, batch_size, workers, order):
    out = tmp_path_factory.mktemp("table")
    for rank in order:
        with contextlib.suppress(UnfinishedError):
            table = build_masks(
                photos,
                RandomCNN("resnet18", input_size=64),
                out,
                batch_size=batch_size,
                workers=workers,
                shard=(rank, len(order)),
                wait_for_ranks=False,
                **OPTIONS,
            )
    assert table.description.hashes == reference.description.hashes
    keys = list(table)
    assert keys == list(reference)
    assert torch.equal(table.masks(keys), reference.masks(keys))
    scores, expected = (torch.stack([one.scores(key) for key in keys]) for one in (table, reference))
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=0)


def test_another_seed_gives_other_hashes(photos, reference, tmp_path):
    other = build_masks(photos, RandomCNN("resnet18", seed=1, input_size=64), tmp_path / "other", workers=0, **OPTIONS)
    assert all(other.description.hashes[name] != reference.description.hashes[name] for name in ("images", "masks"))


def test_a_table_says_what_made_it(photos, tmp_path, brightness):
    table = build_masks(photos, brightness, tmp_path, workers=0, command="tobias-aug masks build", quiet=True)
    said = table.description
    assert said.command == "tobias-aug masks build"
    assert set(said.versions) == {"tobias-aug", "torch", "torchvision", "numpy", "pillow"}
    assert {name: len(value) for name, value in said.hashes.items()} == {"images": 64, "masks": 64}
