"""Seeds, saved pipelines, recorded calls and workers: what a transform does can be done again."""

import json
import warnings

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset, get_worker_info

A = pytest.importorskip("albumentations", reason="needs the extra albumentations")

from tests.integrations.albumentations.images import image  # noqa: E402
from tobias_aug.integrations.albumentations import TobiasBetweenClass, TobiasPatchMerge  # noqa: E402

RANDOM = np.random.default_rng(0)
LEFT = np.tile([True, True, False, False], (4, 1))
BOXES = A.BboxParams(format="pascal_voc", label_fields=["kinds"])


DONORS = [{"image": image(seed=n), "scores": RANDOM.random((4, 4)), "label": n % 3} for n in range(1, 6)]
TRANSFORMS = [
    TobiasPatchMerge(p=0.7),
    TobiasPatchMerge(grid=4, localizer=None, boxes="keep-center", p=1.0),
    TobiasBetweenClass(3, p=0.7),
    TobiasBetweenClass(num_classes=3, same_class="error", label_key="kind", p=1.0),
]


def sample_for(transform):
    key = getattr(transform, "label_key", None)
    return {"image": image(), "tobias_metadata": DONORS, **({key: 0} if key else {})}


def run(composed, transform, times=6):
    results = [composed(**sample_for(transform)) for _ in range(times)]
    return [[np.asarray(result[key]) for key in result if key != "tobias_metadata"] for result in results]


def same(first, second):
    return all(
        np.array_equal(mine, theirs)
        for one, other in zip(first, second, strict=True)
        for mine, theirs in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_seed_decides_everything_and_files_keep_everything(transform, tmp_path):
    def composed(seed):
        return A.Compose([transform, A.HorizontalFlip()], seed=seed, strict=True)

    expected = run(composed(5), transform)
    assert same(run(composed(5), transform), expected)
    assert not same(run(composed(6), transform), expected)
    pipeline = composed(5)
    written = A.to_dict(pipeline)
    name = f"tobias_aug.integrations.albumentations.{type(transform).__name__}"
    assert written["transform"]["transforms"][0]["__class_fullname__"] == name
    again = A.from_dict(json.loads(json.dumps(written)))
    A.save(pipeline, tmp_path / "pipeline.json")
    A.save(pipeline, tmp_path / "pipeline.yaml", data_format="yaml")
    loaded = [A.load(tmp_path / "pipeline.json"), A.load(tmp_path / "pipeline.yaml", data_format="yaml")]
    for copy in (again, *loaded):
        assert repr(copy) == repr(pipeline)
        copy.set_random_seed(5)
        assert same(run(copy, transform), expected)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_a_recorded_call_is_replayed_on_the_same_and_on_another_image(transform):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # albumentations warns of every transform with metadata
        composed = A.ReplayCompose([transform])
        for _ in range(4):
            sample = sample_for(transform)
            result = composed(**sample)
            del sample["tobias_metadata"]
            again = A.ReplayCompose.replay(result["replay"], **sample)
            np.testing.assert_array_equal(again["image"], result["image"])
            key = getattr(transform, "label_key", None)
            if key:
                np.testing.assert_array_equal(again[key], result[key])
            other = A.ReplayCompose.replay(result["replay"], **{**sample, "image": image((80, 40, 3), seed=9)})
            assert other["image"].shape == (80, 40, 3)


class Images(Dataset):
    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 8

    def __getitem__(self, index):
        result = self.transform(image=image(), label=index % 3, tobias_metadata=DONORS)
        return result["image"], result["label"]


def seed_worker(worker):
    """As the module's documentation says."""
    info = get_worker_info()
    info.dataset.transform.set_random_seed(info.seed % 2**32)


def test_workers_mix_and_draw_differently_once_seeded():
    transform = A.Compose([TobiasPatchMerge(p=1.0), TobiasBetweenClass(3)], seed=0, strict=True)
    loader = DataLoader(
        Images(transform), batch_size=1, num_workers=2, worker_init_fn=seed_worker, multiprocessing_context="fork"
    )
    epochs = [[(images, labels) for images, labels in loader] for _ in range(2)]
    images = [batch.numpy().tobytes() for epoch in epochs for batch, _ in epoch]
    assert len(set(images)) == 16
    assert all(labels.shape == (1, 3) and abs(float(labels.sum()) - 1) < 1e-6 for _, labels in epochs[0])
