"""The detector is detectron2's own; domain heads add their losses, and context vectors where they have some."""

import copy

import pytest
import torch

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.modeling import build_model
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage

from tobias_aug.integrations.detectron2.regions import region_features

DETECTION = {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"}
VGG = {"MODEL__ROI_BOX_HEAD__NAME": "FastRCNNConvFCHead", "MODEL__ROI_BOX_HEAD__NUM_FC": 1}


def losses(model, inputs, seed=0):
    torch.manual_seed(seed)
    with EventStorage():
        return model(inputs)


def detections(model, inputs):
    model.eval()
    with torch.no_grad():
        return [each["instances"] for each in model([{**each, "instances": None} for each in inputs])]


def build(cfg, seed=0):
    torch.manual_seed(seed)
    return build_model(cfg)


@pytest.mark.parametrize("name", ["R50-C4-strong-weak.yaml", "R50-FPN-strong-weak.yaml", "VGG16-strong-weak.yaml"])
@pytest.mark.parametrize(
    ("heads", "names"),
    [
        (["GlobalWeakHead", "LocalStrongHead"], {"global", "local"}),
        (["DAFasterHead"], {"image", "instance", "consistency"}),
        (["BDCHead", "DAFasterInstanceHead"], {"bdc", "instance"}),
    ],
)
def test_every_backbone_trains_with_every_head_and_detects(small, batch, name, heads, names):
    model = build(small(name, MODEL__DOMAIN__HEADS=heads, **(VGG if "VGG" in name else {})))
    found = losses(model, batch())
    assert found.keys() == DETECTION | {f"loss_domain_{each}" for each in names}
    assert all(loss.isfinite() for loss in found.values())
    sum(found.values()).backward()
    assert [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None] == []
    for each in detections(model, batch()):
        assert len(each) <= 5
        assert set(each.get_fields()) == {"pred_boxes", "scores", "pred_classes"}


@pytest.mark.parametrize("name", ["R50-C4-strong-weak.yaml", "R50-FPN-strong-weak.yaml"])
def test_without_context_it_is_detectron2s_detector_and_the_domain_losses_besides(small, batch, name):
    options = {"MODEL__DOMAIN__LOCAL__CONTEXT": False, "MODEL__DOMAIN__GLOBAL__CONTEXT": False}
    model = build(small(name, **options))
    plain = build(small(name, MODEL__META_ARCHITECTURE="GeneralizedRCNN"))
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "domain_heads" not in name})
    inputs = batch()
    own, theirs = losses(model, inputs), losses(plain, inputs[:1])
    assert own.keys() - theirs.keys() == {"loss_domain_global", "loss_domain_local"}
    torch.testing.assert_close({name: own[name] for name in theirs}, theirs, rtol=0, atol=0)
    # The target has passed the backbone's batch normalization since.
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "domain_heads" not in name})
    for ours, other in zip(detections(model, inputs), detections(plain, inputs), strict=True):
        assert torch.equal(ours.pred_boxes.tensor, other.pred_boxes.tensor)
        assert torch.equal(ours.scores, other.scores)


@pytest.mark.parametrize("name", ["R50-C4-strong-weak.yaml", "R50-FPN-strong-weak.yaml"])
@pytest.mark.parametrize("training", [True, False])
def test_each_region_is_read_beside_its_images_context(small, batch, name, training):
    model = build(small(name))
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.Dropout)):
            module.eval()
            module.train = lambda mode=True, module=module: module
    model.train(training)
    inputs = [{**each, "domain": "source", "instances": batch()[0]["instances"]} for each in batch()]
    inputs = [inputs[0], {**inputs[1], "image": inputs[0]["image"].flip(1)}, batch()[1]]
    images = model.preprocess_image(inputs[:2]) if training else model.preprocess_image(inputs)
    maps = model.backbone(images.tensor)
    vectors = model.domain_heads.context(maps)
    seen = {}
    model.roi_heads.box_predictor.register_forward_pre_hook(lambda module, args: seen.update(read=args[0]))
    pooler = model.roi_heads.pooler if "C4" in name else model.roi_heads.box_pooler
    hook = pooler.register_forward_pre_hook(lambda module, args: seen.update(boxes=args[1]))
    losses(model, inputs) if training else detections(model, inputs)
    hook.remove()
    counts = [len(boxes) for boxes in seen["boxes"]]
    assert len(counts) == len(vectors) > 1
    tiled = torch.cat([vector.expand(count, -1) for vector, count in zip(vectors, counts, strict=True)])
    torch.testing.assert_close(seen["read"][:, :256], tiled)

    proposals = [Instances((128, 160), proposal_boxes=boxes) for boxes in seen["boxes"]]
    regions = region_features(model.roi_heads, maps, proposals)
    torch.testing.assert_close(seen["read"][:, 256:], regions)


def test_context_widens_the_predictor_and_keeps_its_weights(small):
    with_context, without = (
        build(small(MODEL__DOMAIN__LOCAL__CONTEXT=each, MODEL__DOMAIN__GLOBAL__CONTEXT=False)).roi_heads.box_predictor
        for each in (True, False)
    )
    for layer in ("cls_score", "bbox_pred"):
        wide, narrow = getattr(with_context, layer), getattr(without, layer)
        assert wide.in_features == narrow.in_features + 128
        assert torch.equal(wide.weight[:, 128:], narrow.weight)


def test_detection_trains_the_discriminators_by_context_and_not_the_backbone(small, batch):
    model = build(small())
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight[:, 256:] = 0  # Only context is left to classify by.
    losses(model, batch())["loss_cls"].backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in model.backbone.parameters())
    for head in model.domain_heads:
        assert all(weight.grad.any() for weight in head.alignment.discriminator.trunk.parameters() if weight.ndim > 1)


def test_domain_losses_read_no_truth_of_either_domain(small, batch):
    """Other boxes, other classes: the domain losses stay what they are, to the last bit."""
    model = build(small(MODEL__DOMAIN__HEADS=["GlobalWeakHead", "LocalStrongHead", "DAFasterHead"]))
    first, second = batch(), batch()
    second[0]["instances"].gt_boxes.tensor += 30
    second[0]["instances"].gt_classes += -1
    model.eval()
    model.training = model.proposal_generator.training = model.roi_heads.training = True
    own, other = losses(model, first), losses(model, second)
    assert own["loss_cls"] != other["loss_cls"]
    domain = [name for name in own if "domain" in name]
    assert len(domain) == 5
    assert all(torch.equal(own[name], other[name]) for name in domain)


def test_a_copy_has_heads_of_its_own(small, batch):
    model = build(small())
    twin = copy.deepcopy(model)
    inputs = batch()
    before = detections(twin, inputs)
    with torch.no_grad():
        for weight in model.domain_heads.parameters():
            weight.add_(1)
    after = detections(twin, inputs)
    assert all(torch.equal(one.scores, two.scores) for one, two in zip(before, after, strict=True))
    assert not torch.equal(detections(model, inputs)[0].scores, after[0].scores)


def test_batches_that_cannot_be_are_rejected(small, batch):
    model = build(small())
    source, target = batch()
    with pytest.raises(ValueError, match="needs source images; all of this one are marked as target"):
        model([target])
    with pytest.raises(ValueError, match=r'no image of the batch has "domain": "target"; name datasets in DATASETS'):
        model([source])
    bare = {name: value for name, value in source.items() if name != "instances"}
    with pytest.raises(ValueError, match=r"the source image 'a\.jpg' came without instances; the source is labeled"):
        model([source, {**bare, "file_name": "a.jpg"}, target])
    labeled = {**target, "instances": source["instances"], "file_name": "b.jpg"}
    with pytest.raises(ValueError, match=r"the target image 'b\.jpg' came with instances; the target is images alone"):
        model([source, labeled])
    with pytest.raises(ValueError, match='"domain" must be "source" or "target", got \'test\''):
        model([source, {**target, "domain": "test"}])


def test_roi_heads_of_another_kind_are_rejected(small):
    cascade = {"MODEL__ROI_HEADS__NAME": "CascadeROIHeads", "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": True}
    with pytest.raises(TypeError, match="need Res5ROIHeads or StandardROIHeads with one box predictor, got Cascade"):
        build(small("R50-FPN-strong-weak.yaml", **cascade))


@pytest.mark.parametrize("heads", [["DAFasterInstanceHead"], ["DAFasterHead"], ["DAFasterHead", "LocalStrongHead"]])
@pytest.mark.parametrize("name", ["R50-C4-strong-weak.yaml", "R50-FPN-strong-weak.yaml"])
@pytest.mark.parametrize(
    "none",
    [
        {"MODEL__RPN__POST_NMS_TOPK_TEST": 0},
        {"MODEL__RPN__POST_NMS_TOPK_TRAIN": 0},
        {"MODEL__DOMAIN__DA_FASTER__REGIONS": 0},
    ],
    ids=["target", "source", "both"],
)
def test_a_domain_whose_proposals_are_all_gone_adds_nothing(small, batch, name, heads, none):
    model = build(small(name, **none, MODEL__DOMAIN__HEADS=heads))
    found = losses(model, batch())
    assert all(loss.isfinite() for loss in found.values())
    if "REGIONS" in next(iter(none)):
        assert found["loss_domain_instance"] == 0
    sum(found.values()).backward()
    missing = [key for key, weight in model.domain_heads.named_parameters() if weight.grad is None]
    assert missing == []  # A process that finds no region must still meet the others of its step.
