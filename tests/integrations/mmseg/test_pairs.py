"""Pairs of source and target over many rounds: each image as often as any other, and always with other partners."""

import itertools
from collections import Counter

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import SourceTargetDataset, SourceTargetSampler, config_path

# isort: split

import torch
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS, init_default_scope
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset


class Numbers(Dataset):
    """Samples that are their own number."""

    metainfo = None

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"inputs": torch.tensor(index), "data_samples": SegDataSample()}


def pairs(source, target):
    return SourceTargetDataset(Numbers(source), Numbers(target))


def read(dataset, index):
    pair = dataset[index]
    return int(pair["source"]["inputs"]), int(pair["target"]["inputs"])


@pytest.mark.parametrize(("source", "target"), [(367, 101), (101, 367), (8, 5), (6, 4), (5, 5), (3, 1), (1, 3)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_over_the_rounds_every_image_comes_equally_often(source, target, shuffle):
    dataset = pairs(source, target)
    sampler = DATA_SAMPLERS.build(dict(type="SourceTargetSampler", dataset=dataset, shuffle=shuffle, seed=1))
    larger, smaller = max(source, target), min(source, target)
    # After this many rounds the smaller domain has been gone round a whole number of times.
    drawn = [read(dataset, index) for index in itertools.islice(sampler, larger * smaller)]
    for side, count in ((0, source), (1, target)):
        found = Counter(pair[side] for pair in drawn)
        assert set(found) == set(range(count))
        assert set(found.values()) == {larger * smaller // count}
    for number in range(1, 4):  # And at any time nearly so; the larger domain whole in each round.
        part = drawn[: number * larger]
        for side, count in ((0, source), (1, target)):
            found = Counter(pair[side] for pair in part)
            assert max(found.values()) - min(found[image] for image in range(count)) <= 1
    if source == 367:
        partners = {pair for pair in drawn if pair[0] == 0}
        assert len(partners) == target


def test_a_plain_index_is_of_the_first_round_and_reading_twice_changes_nothing():
    dataset = pairs(8, 5)
    assert [read(dataset, index) for index in range(8)] == [(index, index % 5) for index in range(8)]
    assert [read(dataset, (0, index)) for index in range(8)] == [read(dataset, index) for index in range(8)]
    assert read(dataset, (1, 0)) == read(dataset, (1, 0)) == (0, 3)
    with pytest.raises(IndexError, match="pair 8 of 8"):
        dataset[2, 8]


def test_the_order_follows_from_the_seed_and_the_round():
    def first(count, **options):
        return list(itertools.islice(SourceTargetSampler(pairs(8, 5), **options), count))

    whole = first(24, seed=3)
    assert first(24, seed=3) == whole != first(24, seed=4)
    assert [number for number, _ in whole] == [0] * 8 + [1] * 8 + [2] * 8
    assert whole[:8] != [(0, index) for _, index in whole[8:16]]
    one = SourceTargetSampler(pairs(8, 5), seed=3, endless=False)
    assert len(one) == 8
    assert list(one) == whole[:8]
    one.set_epoch(2)  # As an epoch-based loop does, also when it resumes.
    assert list(one) == whole[16:]


def test_the_ready_configurations_pair_anew(monkeypatch, tmp_path):
    init_default_scope("mmseg")
    config = Config.fromfile(config_path("camvid240_mcd"))
    loader = Runner.build_dataloader(
        dict(batch_size=4, num_workers=1, sampler=config.train_dataloader.sampler, dataset=pairs(8, 5)), seed=0
    )
    batches = list(itertools.islice(loader, 10))
    targets = Counter(int(image) for batch in batches for image in batch["target"]["inputs"])
    assert targets == dict.fromkeys(range(5), 8)
    assert config.train_dataloader.dataset.type == "SourceTargetDataset"


def test_another_dataset_is_rejected_with_the_sampler_that_fits():
    with pytest.raises(TypeError, match=r"pairs of a SourceTargetDataset, got a Numbers; .*InfiniteSampler"):
        SourceTargetSampler(Numbers(3))
