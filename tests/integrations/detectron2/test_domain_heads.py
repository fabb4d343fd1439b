"""Each head, built from the configuration, gives the weighted loss of its formula on the features it names."""

import math

import pytest
import torch

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.layers import ShapeSpec

from tobias_aug.integrations.detectron2 import DA_HEADS_REGISTRY, DomainFeatures, DomainHead, get_tobias_cfg
from tobias_aug.integrations.detectron2.domain_heads import DomainHeads, build_domain_heads

SHAPES = {"res2": ShapeSpec(channels=4, stride=4), "res4": ShapeSpec(channels=6, stride=16)}


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def mean(values):
    return sum(values) / len(values)


@pytest.fixture
def head():
    """Return a head by name, in evaluation, as the configuration with options makes it."""

    def make(name, **options):
        torch.manual_seed(0)
        cfg = get_tobias_cfg()
        for key, value in options.items():
            cfg.merge_from_list([f"MODEL.DOMAIN.{key.replace('__', '.')}", value])
        return DA_HEADS_REGISTRY.get(name)(cfg, SHAPES, 8).double().eval()

    return make


@pytest.fixture
def domains():
    torch.manual_seed(1)

    def features(height, count):
        maps = {name: torch.randn(1, shape.channels, height, 5) for name, shape in SHAPES.items()}
        maps = {name: value.double().requires_grad_() for name, value in maps.items()}
        return DomainFeatures(maps, torch.randn(count, 8).double().requires_grad_(), [count])

    return features(6, 3), features(4, 5)


def test_local_strong(head, domains):
    local = head("LocalStrongHead", LOCAL__WEIGHT=0.5)
    losses = local(*domains)
    own, other = (local.alignment.discriminator(each.maps["res2"]).flatten().tolist() for each in domains)
    expected = 0.5 * (0.5 * mean([sigmoid(z) ** 2 for z in own]) + 0.5 * mean([(1 - sigmoid(z)) ** 2 for z in other]))
    assert list(losses) == ["loss_domain_local"]
    assert losses["loss_domain_local"].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("modulation", ["focal", "exponential"])
def test_global_weak(head, domains, modulation):
    weak = head("GlobalWeakHead", GLOBAL__GAMMA=3.0, GLOBAL__MODULATION=modulation, GLOBAL__WEIGHT=0.1)
    expected = 0.0
    for domain, each in enumerate(domains):
        ((first, second),) = weak.alignment.discriminator(each.maps["res4"]).tolist()
        p = sigmoid(first - second) if domain == 0 else sigmoid(second - first)
        expected -= 0.5 * ((1 - p) ** 3 if modulation == "focal" else math.exp(-3 * p)) * math.log(p)
    assert weak(*domains)["loss_domain_global"].item() == pytest.approx(0.1 * expected, abs=1e-12)


def test_the_strong_baseline_is_cross_entropy_whatever_gamma_is_set(head, domains):
    strong = head("BDCHead", GLOBAL__GAMMA=5.0)
    logits = torch.cat([strong.alignment.discriminator(each.maps["res4"]) for each in domains])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(strong(*domains), {"loss_domain_bdc": expected})


def test_da_faster(head, domains):
    options = {"DA_FASTER__IMAGE_WEIGHT": 2.0, "DA_FASTER__INSTANCE_WEIGHT": 3.0, "DA_FASTER__CONSISTENCY_WEIGHT": 4.0}
    whole = head("DAFasterHead", **options)
    maps = [whole.alignment.image.discriminator(each.maps["res4"]).flatten().tolist() for each in domains]
    regions = [whole.alignment.region.discriminator(each.regions).flatten().tolist() for each in domains]

    def entropy(source, target):
        source, target = [-math.log(sigmoid(z)) for z in source], [-math.log(1 - sigmoid(z)) for z in target]
        return 0.5 * mean(source) + 0.5 * mean(target)

    distances = [
        abs(mean([sigmoid(z) for z in image]) - sigmoid(region))
        for image, own in zip(maps, regions, strict=True)
        for region in own
    ]
    expected = {"image": 2 * entropy(*maps), "instance": 3 * entropy(*regions), "consistency": 4 * mean(distances)}
    losses = whole(*domains)
    assert losses.keys() == {f"loss_domain_{part}" for part in expected}
    for part, value in expected.items():
        assert losses[f"loss_domain_{part}"].item() == pytest.approx(value, abs=1e-9)
    assert whole.needs_regions
    assert not head("DAFasterImageHead").needs_regions
    for name, part in (("DAFasterImageHead", "image"), ("DAFasterInstanceHead", "instance")):
        one = head(name, **options)
        same = whole.alignment.image if part == "image" else whole.alignment.region
        one.alignment.load_state_dict(same.state_dict())
        torch.testing.assert_close(one(*domains), {f"loss_domain_{part}": losses[f"loss_domain_{part}"]})


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("LocalStrongHead", "LOCAL"),
        ("GlobalWeakHead", "GLOBAL"),
        ("BDCHead", "GLOBAL"),
        ("DAFasterImageHead", "DA_FASTER"),
        ("DAFasterInstanceHead", "DA_FASTER"),
    ],
)
def test_the_configured_reversal_reaches_the_features(head, domains, name, group):
    source, target = domains
    leaves = [source.regions, source.maps["res2"], source.maps["res4"]]

    def gradients(one):
        (loss,) = one(source, target).values()
        return [each for each in torch.autograd.grad(loss, leaves, allow_unused=True) if each is not None]

    turned, straight = (
        gradients(head(name, **{f"{group}__REVERSAL": 0.25})),
        gradients(head(name, **{f"{group}__REVERSAL": -1.0})),
    )
    assert len(turned) == 1
    torch.testing.assert_close(turned[0], -0.25 * straight[0])


def test_context_vectors_stand_in_the_order_of_the_heads(head, domains):
    heads = DomainHeads(
        [
            head("GlobalWeakHead", GLOBAL__CONTEXT=True),
            head("DAFasterImageHead"),
            head("LocalStrongHead", LOCAL__CONTEXT=True),
        ]
    )
    assert heads.context_channels == 256
    maps = domains[0].maps
    expected = [heads[0].alignment.context(maps["res4"]), heads[2].alignment.context(maps["res2"])]
    assert torch.equal(heads.context(maps), torch.cat(expected, 1))
    assert heads(*domains).keys() == {"loss_domain_global", "loss_domain_image", "loss_domain_local"}


def test_a_head_of_ones_own():
    class Constant(DomainHead):
        def __init__(self, cfg, input_shape, region_channels):
            super().__init__()
            self.value = region_channels

        def forward(self, source, target):
            return {"loss_domain_constant": torch.tensor(float(self.value))}

    DA_HEADS_REGISTRY.register(Constant)
    try:
        cfg = get_tobias_cfg()
        cfg.MODEL.DOMAIN.HEADS = ["Constant"]
        heads = DomainHeads(build_domain_heads(cfg, SHAPES, 8))
        assert heads(DomainFeatures({}), DomainFeatures({})) == {"loss_domain_constant": torch.tensor(8.0)}
    finally:
        del DA_HEADS_REGISTRY._obj_map["Constant"]


def test_what_cannot_be_built_says_why(head, domains):
    known = "BDCHead, DAFasterHead, DAFasterImageHead, DAFasterInstanceHead, GlobalWeakHead, LocalStrongHead"
    with pytest.raises(KeyError, match=f"no domain head 'LocalHead' in MODEL.DOMAIN.HEADS; there are {known}"):
        head("LocalHead")
    with pytest.raises(
        ValueError, match="LocalStrongHead reads 'p2', and the backbone gives res2, res4; set its IN_FE"
    ):
        head("LocalStrongHead", LOCAL__IN_FEATURE="p2")
    with pytest.raises(ValueError, match='MODULATION must be "focal" or "exponential", got \'linear\''):
        head("GlobalWeakHead", GLOBAL__MODULATION="linear")
    with pytest.raises(ValueError, match="two domain heads give loss_domain_image; leave one out"):
        DomainHeads([head("DAFasterImageHead"), head("DAFasterHead")])(*domains)
