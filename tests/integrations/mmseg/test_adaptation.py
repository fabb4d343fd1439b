"""MCD and ADR in mmseg: three steps that move what they should, a target without labels, runs that resume."""

import copy
import itertools

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import FogAndColor, SourceTargetDataset, config_path

# isort: split

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmseg.registry import DATASETS
from torch.nn import functional as F

from tests.integrations.mmseg.adaptation import (
    CLASSES,
    OPTIMIZER,
    a_batch,
    cross_entropy,
    moved,
    optimizers,
    segmentor,
    tensors,
    weights,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("scope")]


def test_pairs_go_round_both_domains_and_the_target_is_its_image_alone(domains):
    dataset = DATASETS.build(domains)
    assert len(dataset) == 8
    assert list(dataset.metainfo["classes"]) == CLASSES["classes"]
    fog = FogAndColor()
    for number in range(8):
        pair = dataset[number]
        assert set(pair) == {"source", "target"}
        assert set(pair["target"]) == {"inputs"}
        assert isinstance(pair["target"]["inputs"], torch.Tensor)
        clear = dataset.source[number % 5]
        image = clear["inputs"].permute(1, 2, 0).numpy()
        foggy = fog({"img": image, "img_path": clear["data_samples"].img_path})["img"]
        assert np.array_equal(pair["target"]["inputs"].permute(1, 2, 0).numpy(), foggy)
        assert "gt_sem_seg" in pair["source"]["data_samples"]
    with pytest.raises(IndexError, match="pair 8 of 8"):
        dataset[8]
    swapped = SourceTargetDataset(
        DATASETS.build({**domains["source"], "indices": 2}), DATASETS.build(domains["target"])
    )
    assert len(swapped) == 5
    assert len(list(swapped)) == 5


def test_a_target_with_labels_is_rejected(domains):
    domains["target"] = domains["source"]
    with pytest.raises(ValueError, match=r"loads labels \(gt_sem_seg\), and adaptation has none of the target"):
        DATASETS.build(domains)[0]
    with pytest.raises(ValueError, match="the target dataset is empty"):
        SourceTargetDataset(domains["source"], [])


def test_mcds_losses_are_those_of_the_formula(domains):
    """One iteration without dropout and step size, so that every step sees the same weights."""
    model = segmentor("MCDSegmentor", dropout=0)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.0
    batch = a_batch(domains)
    source, labels, target = tensors(model, batch)
    still = dict(optimizer=dict(type="SGD", lr=0.0))
    logs = model.train_step(batch, optimizers(model, generator=still, classifiers=still))
    with torch.no_grad():
        heads = (model.decode_head, model.second_head)
        source_loss = sum(cross_entropy(head(model.backbone(source)), labels) for head in heads)
        first, second = (head(model.backbone(target)).softmax(1) for head in heads)
        distance = (first - second).abs().mean()
    torch.testing.assert_close(logs["loss"], source_loss)
    torch.testing.assert_close(logs["loss_classifiers"], source_loss - distance)
    torch.testing.assert_close(logs["loss_generator"], distance)
    assert distance > 0


def test_adrs_losses_are_those_of_the_formula(domains):
    model = segmentor("ADRSegmentor", updates=1)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.0
    batch = a_batch(domains)
    source, labels, target = tensors(model, batch)
    still = dict(optimizer=dict(type="SGD", lr=0.0))
    torch.manual_seed(3)
    logs = model.train_step(batch, optimizers(model, generator=still, classifiers=still))
    torch.manual_seed(3)
    with torch.no_grad():
        draw = lambda images: model.decode_head(model.backbone(images))  # noqa: E731
        source_loss = cross_entropy(draw(source), labels)
        again = cross_entropy(draw(source), labels)
        distances = []
        for _ in range(2):
            p, q = draw(target).softmax(1), draw(target).softmax(1)
            both = (p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)
            distances.append(both.mean() / 2)
    torch.testing.assert_close(logs["loss"], source_loss)
    torch.testing.assert_close(logs["loss_classifiers"], again - distances[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logs["loss_generator"], distances[1], rtol=1e-4, atol=1e-6)
    assert distances[1] > 0


@pytest.mark.parametrize("kind", ["MCDSegmentor", "ADRSegmentor"])
def test_each_step_moves_its_part_alone(domains, kind, monkeypatch):
    """The losses are watched in their order, and what has moved since the one before."""
    model = segmentor(kind, updates=3)
    wrapper = optimizers(model)
    parts, seen = model.parts(), []
    states = {name: weights(part) for name, part in parts.items()}

    def watch(name):
        loss = getattr(model.method, name)

        def called(*arguments):
            seen.append((name, {part for part in parts if moved(parts[part], states[part])}))
            states.update({part: weights(parts[part]) for part in parts})
            return loss(*arguments)

        monkeypatch.setattr(model.method, name, called)

    for name in ("source_loss", "classifier_loss", "generator_loss"):
        watch(name)
    model.train_step(a_batch(domains), wrapper)
    assert seen == [
        ("source_loss", set()),
        ("classifier_loss", {"generator", "classifiers"}),
        ("generator_loss", {"classifiers"}),
        ("generator_loss", {"generator"}),
        ("generator_loss", {"generator"}),
    ]
    assert {part for part in parts if moved(parts[part], states[part])} == {"generator"}


def test_the_parts_are_all_of_the_model_and_none_is_there_twice():
    for kind in ("MCDSegmentor", "ADRSegmentor"):
        model = segmentor(kind)
        parts = [id(weight) for part in model.parts().values() for weight in part.parameters()]
        assert sorted(parts) == sorted(id(weight) for weight in model.parameters())
        assert not any(name.startswith("method") for name in model.state_dict())
    model = segmentor("MCDSegmentor")
    assert not torch.equal(model.decode_head.fc6.conv.weight, model.second_head.fc6.conv.weight)


def test_mcd_predicts_with_both_heads():
    model = segmentor("MCDSegmentor").eval()
    images = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        features = model.backbone(images)
        both = model.decode_head(features) + model.second_head(features)
        torch.testing.assert_close(model(images, mode="tensor"), both)
        (sample, _) = model(images, mode="predict")
    enlarged = F.interpolate(both, (48, 64), mode="bilinear", align_corners=False)
    assert torch.equal(sample.pred_sem_seg.data[0], enlarged[0].argmax(0))


def test_a_copy_is_a_model_of_its_own():
    """As an exponential moving average makes it."""
    model = segmentor("MCDSegmentor").eval()
    images = torch.rand(1, 3, 32, 32)
    before = model(images, mode="tensor")
    copied = copy.deepcopy(model)
    for weight in copied.parameters():
        weight.data.zero_()
    assert torch.equal(model(images, mode="tensor"), before)
    assert (copied(images, mode="tensor") == 0).all()


def test_several_processes_are_rejected():
    with pytest.raises(ValueError, match="train in one process, got a model in a DataParallel"):
        optimizers(torch.nn.DataParallel(segmentor("ADRSegmentor")))


def test_labels_of_the_target_change_nothing(domains, scenes):
    """Spoilt on disk after the source was read, they leave every weight as it was, to the last bit."""
    states = []
    for spoilt in (False, True):
        batch = a_batch(domains)
        if spoilt:
            for path in (scenes / "masks").iterdir():
                path.write_bytes(b"")
            images = DATASETS.build(domains["target"])
            for number in range(4):
                assert torch.equal(images[number]["inputs"], batch["target"]["inputs"][number])
        model = segmentor("MCDSegmentor")
        torch.manual_seed(1)
        model.train_step(batch, optimizers(model))
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_ready_domains_are_apart(real_data, monkeypatch):
    monkeypatch.setenv("TOBIAS_AUG_DATA", str(real_data))
    config = Config.fromfile(config_path("camvid240_mcd"))
    pairs = DATASETS.build(config.train_dataloader.dataset)
    test = DATASETS.build(config.test_dataloader.dataset)
    assert (len(pairs.source), len(pairs.target), len(test)) == (367, 101, 233)
    names = [
        {part.get_data_info(number)["img_path"].rpartition("/")[2] for number in range(len(part))}
        for part in (pairs.source, pairs.target, test)
    ]
    assert not any(first & second for first, second in itertools.combinations(names, 2))
    assert pairs[0]["target"]["inputs"].shape == (3, 180, 240)
    # Fog makes bright, and takes contrast.
    clear = DATASETS.build({**config.source, "data_prefix": dict(img_path="test", seg_map_path="testannot")})
    foggy, plain = (torch.stack([one[n]["inputs"].float() for n in range(0, 233, 40)]) for one in (test, clear))
    assert foggy.mean() > plain.mean()
    assert foggy.std((2, 3)).mean() < 0.7 * plain.std((2, 3)).mean()


@pytest.mark.parametrize("kind", ["MCDSegmentor", "ADRSegmentor"])
def test_what_does_not_fit_raises(domains, kind):
    model, batch = segmentor(kind), a_batch(domains)
    parameters = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(TypeError, match=r"an optimizer each for generator and classifiers, got a OptimWrapper; set"):
        model.train_step(batch, parameters)
    amp = dict(type="AmpOptimWrapper", dtype="bfloat16", **OPTIMIZER)
    with pytest.raises(
        ValueError, match="AmpOptimWrappers scale their losses separately; take OptimWrapper for generator"
    ):
        optimizers(model, generator=amp)
    for wrong in (batch["source"], {"source": batch["source"], "target": batch["source"]}):
        with pytest.raises(TypeError, match="a target image alone; put a SourceTargetDataset into"):
            model.train_step(wrong, optimizers(model))
    with pytest.raises(
        ValueError, match="takes optimizers for generator and classifiers, .* got generator, classifier"
    ):
        optimizers(model, classifier=OPTIMIZER)
    with pytest.raises(ValueError, match="trains its decode heads alone; leave auxiliary_head out"):
        segmentor(kind, auxiliary_head=dict(type="FCNHead", in_channels=4, channels=4, num_classes=3))
    with pytest.raises(ValueError, match="at least one generator update"):
        segmentor(kind, updates=0)


def test_adr_without_dropout_is_rejected():
    with pytest.raises(ValueError, match="the decode head has no dropout; set dropout_ratio"):
        segmentor("ADRSegmentor", dropout=0)


def test_each_optimizer_has_its_own_options():
    model = segmentor("MCDSegmentor")
    adam = dict(type="Adam", lr=0.5, weight_decay=0.1)
    wrapper = optimizers(model, generator=dict(optimizer=adam, paramwise_cfg=dict(norm_decay_mult=0.0)))
    assert isinstance(wrapper["generator"].optimizer, torch.optim.Adam)
    assert isinstance(wrapper["classifiers"].optimizer, torch.optim.SGD)
    assert {group["weight_decay"] for group in wrapper["generator"].param_groups} == {0.1, 0.0}
