"""What the three steps of MCD and ADR cannot honor is rejected, not ignored; and they run in bfloat16."""

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import GeneratorClassifiersConstructor

# isort: split

import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

pytestmark = pytest.mark.slow

SGD = dict(type="SGD", lr=0.1)
KINDS = ["MCDSegmentor", "ADRSegmentor"]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmseg")


def head(**options):
    return {
        **dict(type="DeepLabV1Head", in_channels=128, channels=16, dilation=1, num_classes=3, out_channels=3),
        **options,
    }


def segmentor(kind, seed=0, **options):
    torch.manual_seed(seed)
    config = dict(
        type=kind,
        backbone=dict(type="WideResNet38", width=32, dropout=False),
        decode_head=head(),
        data_preprocessor=dict(type="SegDataPreProcessor", mean=[128.0] * 3, std=[64.0] * 3, size_divisor=8),
        test_cfg=dict(mode="whole"),
        updates=2,
    )
    return MODELS.build(ConfigDict({**config, **options})).train()


def a_batch():
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator) for _ in range(4)]
    labels = [torch.randint(0, 3, (1, 32, 32), generator=generator) for _ in range(2)]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one), metainfo=dict(img_shape=(32, 32))) for one in labels]
    return {"source": {"inputs": images[:2], "data_samples": samples}, "target": {"inputs": images[2:]}}


class ScalesItself(OptimWrapper):
    def backward(self, loss, **options):
        super().backward(2 * loss, **options)


@pytest.mark.parametrize("part", ["generator", "classifiers"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(accumulative_counts=4),
            r"none can be accumulated .*; leave accumulative_counts=4 of {part} out, and raise",
        ),
        (dict(type="AmpOptimWrapper"), "scale their losses separately; take OptimWrapper for {part}, and precision="),
        (dict(type="ApexOptimWrapper"), "ApexOptimWrapper has its own .*optim_context; take OptimWrapper for {part}"),
        (dict(type=ScalesItself), "ScalesItself has its own backward; take OptimWrapper for {part}"),
        (
            dict(type="NoSuchWrapper"),
            "mmengine knows no optimizer wrapper 'NoSuchWrapper'; take OptimWrapper for {part}",
        ),
    ],
    ids=["accumulation", "amp", "apex", "own", "unknown"],
)
def test_an_optimizer_that_the_steps_cannot_honor_is_rejected(part, changes, message):
    config = {name: dict(optimizer=SGD) for name in ("generator", "classifiers")}
    config[part] = dict(optimizer=SGD, **changes)
    with pytest.raises(ValueError, match=message.format(part=part)):
        GeneratorClassifiersConstructor(config)


def test_options_beside_the_two_optimizers_are_rejected_too():
    """As mmseg's ``tools/train.py --amp`` sets them, and as they are set for one optimizer."""
    both = {name: dict(optimizer=SGD) for name in ("generator", "classifiers")}
    with pytest.raises(ValueError, match="scale their losses separately; take OptimWrapper for both"):
        GeneratorClassifiersConstructor(dict(**both, type="AmpOptimWrapper"))
    for extra in (dict(accumulative_counts=2), dict(clip_grad=dict(max_norm=1)), dict(loss_scale="dynamic")):
        with pytest.raises(ValueError, match=f"got generator, classifiers, {next(iter(extra))}"):
            GeneratorClassifiersConstructor(dict(**both, **extra))
    assert GeneratorClassifiersConstructor(dict(**both, type="OptimWrapper"))


def test_wrappers_made_by_hand_are_looked_at_as_well():
    model = segmentor("ADRSegmentor")
    wrappers = {
        name: OptimWrapper(torch.optim.SGD(part.parameters(), lr=0.1), accumulative_counts=2)
        for name, part in model.parts().items()
    }
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(ValueError, match="leave accumulative_counts=2 of generator out"):
        model.train_step(a_batch(), OptimWrapperDict(**wrappers))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_clipping_is_honored():
    model = segmentor("MCDSegmentor", updates=1)
    still = dict(optimizer=dict(type="SGD", lr=1.0), clip_grad=dict(max_norm=1e-3))
    before = {name: [weight.clone() for weight in part.parameters()] for name, part in model.parts().items()}
    model.train_step(a_batch(), GeneratorClassifiersConstructor(dict(generator=still, classifiers=still))(model))
    for name, part in model.parts().items():  # Two of the three steps move each part.
        changes = [new - old for new, old in zip(part.parameters(), before[name], strict=True)]
        assert 0 < torch.stack([change.norm() for change in changes]).norm() <= 2.01e-3


def test_paramwise_options_find_the_parts_by_the_models_names():
    model = segmentor("MCDSegmentor")
    keys = {"second_head": dict(lr_mult=10.0), "backbone.conv1a": dict(lr_mult=0.1)}
    one = dict(optimizer=SGD, paramwise_cfg=dict(custom_keys=keys))
    wrapper = GeneratorClassifiersConstructor(dict(generator=one, classifiers=one))(model)
    rates = {
        name: {round(group["lr"], 6) for group in wrapper[name].optimizer.param_groups}
        for name in ("generator", "classifiers")
    }
    assert rates == {"generator": {0.1, 0.01}, "classifiers": {0.1, 1.0}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "one_logit",
    [dict(num_classes=2, out_channels=1), dict(num_classes=1, out_channels=None)],
    ids=["binary", "one class"],
)
def test_a_head_of_one_logit_is_rejected(kind, one_logit):
    sigmoid = dict(type="CrossEntropyLoss", use_sigmoid=True)
    with pytest.raises(ValueError, match=f"{kind} compares the softmax of logits, .* num_classes=2, out_channels=2"):
        segmentor(kind, decode_head=head(**one_logit, loss_decode=sigmoid))


def test_a_second_head_is_looked_at_as_the_first_is():
    with pytest.raises(ValueError, match="MCDSegmentor compares the softmax of logits"):
        segmentor("MCDSegmentor", second_head=head(num_classes=2, out_channels=1))
    with pytest.raises(ValueError, match="have the same number of classes, got 3 of decode_head and 4 of second_head"):
        segmentor("MCDSegmentor", second_head=head(num_classes=4, out_channels=4))
    sampler = dict(type="OHEMPixelSampler", thresh=0.7, min_kept=10)
    with pytest.raises(ValueError, match="counts every pixel; leave the decode head's sampler out"):
        segmentor("MCDSegmentor", second_head=head(sampler=sampler))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "other",
    [
        dict(type="STDCHead", in_channels=128, channels=16, num_classes=2, boundary_threshold=0.1),
        dict(type="EncHead", in_channels=[128, 128], in_index=[0, 1], channels=16, num_classes=3, num_codes=4),
    ],
    ids=lambda each: each["type"],
)
def test_a_head_that_makes_its_own_loss_is_rejected(kind, other):
    with pytest.raises(
        ValueError, match=f"takes logits and loss_decode of its heads, and {other['type']} makes its loss"
    ):
        segmentor(kind, decode_head=other)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_computes_in_bfloat16_and_keeps_weights_and_losses_whole(kind):
    found = {}
    for precision in ("fp32", "bf16"):
        model = segmentor(kind, precision=precision)
        seen = set()
        model.backbone.conv1a.register_forward_hook(lambda module, given, out, seen=seen: seen.add(out.dtype))
        wrapper = GeneratorClassifiersConstructor(dict(generator=dict(optimizer=SGD), classifiers=dict(optimizer=SGD)))
        before = [weight.clone() for weight in model.parameters()]
        torch.manual_seed(1)
        losses = model.train_step(a_batch(), wrapper(model))
        found[precision] = torch.stack(list(losses.values()))
        assert seen == {torch.bfloat16 if precision == "bf16" else torch.float32}
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        assert not all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    assert found["bf16"].dtype == torch.float32
    # The first loss is of the same weights; eight bits of mantissa through 38 layers leave a few per cent.
    torch.testing.assert_close(found["bf16"][0], found["fp32"][0], rtol=0.05, atol=0)
    with pytest.raises(ValueError, match='precision must be "fp32" or "bf16", got \'fp16\''):
        segmentor(kind, precision="fp16")
