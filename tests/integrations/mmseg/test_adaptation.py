"""MCD and ADR in mmseg: three steps that move what they should, a target without labels, runs that resume."""

import copy
import itertools
from zlib import crc32

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import FogAndColor, SourceTargetDataset, config_path

# isort: split

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from torch.nn import functional as F

from tobias_aug.adaptation import fog_and_color

pytestmark = pytest.mark.slow

NUMBERS = itertools.count()
CLASSES = dict(classes=["street", "house", "car"])
OPTIMIZER = dict(optimizer=dict(type="SGD", lr=0.1))
LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadPseudoLabel"), dict(type="PackSegInputs")]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmseg")


@pytest.fixture
def domains(scenes):
    """Eight labeled scenes, and the first five of them in fog without labels, as configurations."""
    names = scenes / "five.txt"
    names.write_text("".join(f"scene_{number}\n" for number in range(5)))
    shared = dict(data_root=str(scenes), metainfo=CLASSES)
    source = dict(
        type="TobiasPseudoLabelDataset",
        data_prefix=dict(img_path="images", seg_map_path="masks"),
        pipeline=LOAD,
        **shared,
    )
    target = dict(
        type="BaseSegDataset",
        ann_file="five.txt",
        data_prefix=dict(img_path="images"),
        pipeline=[LOAD[0], dict(type="FogAndColor"), LOAD[2]],
        **shared,
    )
    return dict(type="SourceTargetDataset", source=source, target=target)


def segmentor(kind, seed=0, dropout=0.5, **options):
    torch.manual_seed(seed)
    config = dict(
        type=kind,
        backbone=dict(type="WideResNet38", width=32, dropout=False),
        decode_head=dict(
            type="DeepLabV1Head",
            in_channels=128,
            channels=16,
            dilation=1,
            num_classes=3,
            dropout_ratio=dropout,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
        data_preprocessor=dict(type="SegDataPreProcessor", mean=[128.0] * 3, std=[64.0] * 3, size_divisor=8),
        test_cfg=dict(mode="whole"),
        **options,
    )
    model = MODELS.build(ConfigDict(config))
    model.init_weights()
    return model.train()


def optimizers(model, **changes):
    config = {"generator": OPTIMIZER, "classifiers": OPTIMIZER, **changes}
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get("GeneratorClassifiersConstructor")(config)
    return constructor(model)


def a_batch(domains, count=4):
    dataset = DATASETS.build(domains)
    return pseudo_collate([dataset[number] for number in range(count)])


def tensors(model, batch):
    """What the steps see, prepared independently of them."""
    source, target = (torch.stack(batch[domain]["inputs"]).float().sub(128).div(64) for domain in ("source", "target"))
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in batch["source"]["data_samples"]])
    return source, labels, target


def cross_entropy(logits, labels):
    enlarged = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    chosen = enlarged.log_softmax(1).gather(1, labels.clamp(max=2)[:, None])[:, 0]
    return -chosen[labels != 255].mean()


def weights(part):
    return {name: value.clone() for name, value in part.state_dict().items()}


def moved(part, before):
    trained = [name for name, _ in part.named_parameters()]
    return any(not torch.equal(value, before[name]) for name, value in part.state_dict().items() if name in trained)


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


@pytest.fixture
def build(domains, tmp_path, monkeypatch):
    """A runner of a ready configuration on the small domains: ten iterations, two workers."""
    monkeypatch.setenv("TOBIAS_AUG_DATA", str(tmp_path))

    def build(name, **changes):
        config = Config(
            Config.fromfile(config_path(name)).to_dict(), format_python_code=False
        )  # It takes longer than training does.
        config.work_dir = str(tmp_path / name)
        config.experiment_name = f"test_mmseg_adaptation_{next(NUMBERS)}"
        dataset = domains["source"] if name == "camvid240_source" else domains
        config.merge_from_dict(
            {
                "model.backbone": dict(width=32, dropout=False),
                "model.decode_head": dict(in_channels=128, channels=16, num_classes=3, dilation=1),
                "train_dataloader.dataset": dict(_delete_=True, **dataset),
                "val_dataloader.dataset": dict(_delete_=True, **domains["source"], test_mode=True),
                "train_cfg.max_iters": 10,
                "train_cfg.val_interval": 10,
                "default_hooks.checkpoint.interval": 5,
                "param_scheduler": [dict(type="PolyLR", power=0.9, begin=0, end=10, by_epoch=False)],
                "randomness": dict(seed=0),
                **changes,
            }
        )
        return Runner.from_cfg(config)

    return build


@pytest.mark.parametrize("name", ["camvid240_mcd", "camvid240_adr", "camvid240_source"])
def test_ten_iterations_run_and_are_scored(build, name):
    runner = build(name)
    runner.train()
    assert runner.iter == 10
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    assert 0 <= runner.val()["mIoU"] <= 100
    logged = {key for key in runner.message_hub.log_scalars if "loss" in key}
    assert logged >= (
        {"train/loss"} if name == "camvid240_source" else {"train/loss_classifiers", "train/loss_generator"}
    )


def test_a_stopped_run_continues_to_the_same_weights(build, tmp_path):
    """Without dropout, whose draws no checkpoint of mmengine's holds."""
    still = {"model.decode_head.dropout_ratio": 0}
    whole = build("camvid240_mcd", **still)
    whole.train()
    resumed = build("camvid240_mcd", **still, resume=True, load_from=str(tmp_path / "camvid240_mcd" / "iter_5.pth"))
    resumed.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for part in ("generator", "classifiers"):
        assert whole.optim_wrapper[part].get_lr() == resumed.optim_wrapper[part].get_lr()


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


def street(name="a/0016E5_07959.jpg", value=100):
    return {"img": np.full((60, 80, 3), value, np.uint8), "img_path": name}


def test_fog_is_the_same_for_a_name_whatever_else_happens():
    np.random.seed(0)
    first = FogAndColor()(street())["img"]
    np.random.seed(1)
    torch.manual_seed(1)
    assert np.array_equal(
        TRANSFORMS.build(dict(type="FogAndColor"))(street("elsewhere/0016E5_07959.jpg"))["img"], first
    )
    assert not np.array_equal(FogAndColor()(street("a/0016E5_07961.jpg"))["img"], first)
    assert not np.array_equal(FogAndColor(seed=1)(street())["img"], first)
    assert first.dtype == np.uint8


def test_fog_is_the_librarys_on_red_green_and_blue():
    options = dict(density=0.8, patchiness=0.2, fog=(200, 210, 220), saturation=0.7, gains=(0.5, 1.0, 1.5))
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    changed = FogAndColor(**options, seed=3)({"img": image.copy(), "img_path": "a/b.jpg"})["img"]
    expected = fog_and_color(image[..., ::-1].copy(), crc32(b"3 b.jpg"), **options)
    assert np.array_equal(changed[..., ::-1], expected)
    same = FogAndColor(density=0, saturation=1, gains=(1, 1, 1))({"img": image.copy(), "img_path": "a.jpg"})["img"]
    assert np.array_equal(same, image)


def test_fog_that_cannot_be_is_rejected():
    with pytest.raises(ValueError, match=r"needs density >= 0, .* got -1"):
        FogAndColor(density=-1)(street())
    with pytest.raises(ValueError, match="changes uint8 images .*, got float32"):
        FogAndColor()({"img": np.zeros((4, 4, 3), np.float32), "img_path": "a.jpg"})
    assert "saturation=0.5" in repr(FogAndColor())
