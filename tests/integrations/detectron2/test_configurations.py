"""The configurations hold the papers' and the official code's values, each written out here; without detectron2."""

import ast
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "integrations" / "detectron2"
CONFIGS = FOLDER / "configs"
IMAGENET = {
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],  # torchvision's, in red, green and blue: 255 * 0.485 and so on
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "INPUT.FORMAT": "RGB",
}

# Strong-weak alignment, official code and paper: short side 600, up to 1200 in training and 1000 in testing; SGD at
# 0.001 for 50,000 steps and 0.0001 for 20,000; no decay of biases; 6,000 proposals, of which 300 stay, tested at any
# score with suppression at 0.3.
DOMAIN = {
    **IMAGENET,
    "MODEL.META_ARCHITECTURE": "DomainAdaptiveRCNN",
    "MODEL.WEIGHTS": "",
    "MODEL.MASK_ON": False,
    "MODEL.DOMAIN.HEADS": ["GlobalWeakHead", "LocalStrongHead"],  # context vectors [global, local, region]
    "MODEL.DOMAIN.LOCAL.CONTEXT": True,
    "MODEL.DOMAIN.GLOBAL.CONTEXT": True,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 300,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.3,
    "INPUT.MIN_SIZE_TRAIN": (600,),
    "INPUT.MAX_SIZE_TRAIN": 1200,
    "INPUT.MIN_SIZE_TEST": 600,
    "INPUT.MAX_SIZE_TEST": 1000,
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": True,
    "SOLVER.IMS_PER_BATCH": 1,
    "SOLVER.BASE_LR": 0.001,
    "SOLVER.WEIGHT_DECAY": 0.0001,  # of ResNets
    "SOLVER.WEIGHT_DECAY_NORM": 0.0001,  # the official code tells biases alone apart
    "SOLVER.WEIGHT_DECAY_BIAS": 0.0,
    "SOLVER.STEPS": (50000,),
    "SOLVER.MAX_ITER": 70000,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.CHECKPOINT_PERIOD": 10000,
    "SEED": 0,
    "VERSION": 2,
}
RESNET = {
    "MODEL.BACKBONE.FREEZE_AT": 1,  # conv1 and its normalization
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.STRIDE_IN_1X1": False,  # torchvision's
}
PYRAMID = {
    "MODEL.BACKBONE.NAME": "build_tobias_resnet_fpn_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
}
# Tobias, Table 4, official configurations: 24,000 steps of 16 images at 0.02, less after 18,000 and 22,000; every
# layer learns, normalized over all processes; short sides from 480 to 800 by 32, tested at 800.
TABLE4 = {
    **IMAGENET,
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.WEIGHTS": "",
    "MODEL.MASK_ON": False,
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NORM": "SyncBN",
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.ROI_HEADS.NUM_CLASSES": 20,
    "INPUT.MIN_SIZE_TRAIN": tuple(range(480, 801, 32)),
    "INPUT.MIN_SIZE_TEST": 800,
    "DATASETS.TRAIN": ("voc_2007_trainval", "voc_2012_trainval"),
    "DATASETS.TEST": ("voc_2007_test",),
    "SOLVER.IMS_PER_BATCH": 16,
    "SOLVER.BASE_LR": 0.02,
    "SOLVER.STEPS": (18000, 22000),
    "SOLVER.MAX_ITER": 24000,
    "SOLVER.WARMUP_ITERS": 100,
    "TEST.PRECISE_BN.ENABLED": True,
    "VERSION": 2,
}
EXPECTED = {
    "domain-base.yaml": DOMAIN,
    "R50-C4-strong-weak.yaml": {
        **DOMAIN,
        **RESNET,
        "MODEL.BACKBONE.NAME": "build_tobias_resnet_backbone",
        "MODEL.RESNETS.OUT_FEATURES": ["res2", "res4"],  # local after layer1, global after layer3
        "MODEL.ANCHOR_GENERATOR.SIZES": [[128, 256, 512]],  # 8, 16 and 32 times the stride of 16
        "MODEL.RPN.IN_FEATURES": ["res4"],
        "MODEL.ROI_HEADS.NAME": "TobiasRes5ROIHeads",
        "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 128,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,  # res5 halves it to 7
    },
    "R50-FPN-strong-weak.yaml": {
        **DOMAIN,
        **RESNET,
        **PYRAMID,
        "MODEL.DOMAIN.LOCAL.IN_FEATURE": "p2",  # of stride 4
        "MODEL.DOMAIN.GLOBAL.IN_FEATURE": "p4",  # of stride 16
        "MODEL.DOMAIN.DA_FASTER.IN_FEATURE": "p4",
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 128,
    },
    "VGG16-strong-weak.yaml": {
        **DOMAIN,
        "MODEL.BACKBONE.NAME": "build_tobias_vgg16_backbone",
        "MODEL.BACKBONE.FREEZE_AT": 2,  # conv1 and conv2
        "MODEL.VGG.OUT_FEATURES": ["relu3_3", "relu5_3"],  # the paper's conv3_3; conv5_3 before the last pooling
        "MODEL.DOMAIN.LOCAL.IN_FEATURE": "relu3_3",
        "MODEL.DOMAIN.LOCAL.STD": 0.0,  # torch's own start
        "MODEL.DOMAIN.GLOBAL.IN_FEATURE": "relu5_3",
        "MODEL.DOMAIN.DA_FASTER.IN_FEATURE": "relu5_3",
        "MODEL.ANCHOR_GENERATOR.SIZES": [[128, 256, 512]],
        "MODEL.RPN.IN_FEATURES": ["relu5_3"],
        "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
        "MODEL.ROI_HEADS.IN_FEATURES": ["relu5_3"],
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 256,
        "MODEL.ROI_BOX_HEAD.NAME": "VGG16BoxHead",
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
        "SOLVER.WEIGHT_DECAY": 0.0005,
        "SOLVER.WEIGHT_DECAY_NORM": 0.0005,
        "SOLVER.BIAS_LR_FACTOR": 2.0,  # of VGG-16 alone
    },
    "R50-24k-base.yaml": TABLE4,
    "R50-C4-24k.yaml": {
        **TABLE4,
        "MODEL.BACKBONE.NAME": "build_tobias_resnet_backbone",
        "MODEL.TOBIAS.EXTRA_NORM": True,
        "MODEL.RESNETS.OUT_FEATURES": ["res4"],
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
        "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
        "MODEL.ROI_HEADS.NAME": "TobiasRes5ROIHeads",
    },
    "R50-FPN-24k.yaml": {**TABLE4, **PYRAMID, "MODEL.FPN.NORM": "SyncBN"},
}
# What a configuration leaves to this package's defaults.
DEFAULTS = {
    "MODEL.TOBIAS.CHECKPOINT": "",
    "MODEL.TOBIAS.PREFIX": "",
    "MODEL.TOBIAS.EXTRA_NORM": False,
    "MODEL.VGG.OUT_FEATURES": ["relu5_3"],
    "MODEL.DOMAIN.HEADS": [],
    "MODEL.DOMAIN.LOCAL.IN_FEATURE": "res2",
    "MODEL.DOMAIN.LOCAL.WEIGHT": 1.0,
    "MODEL.DOMAIN.LOCAL.REVERSAL": 1.0,
    "MODEL.DOMAIN.LOCAL.CONTEXT": False,
    "MODEL.DOMAIN.LOCAL.STD": 0.01,  # of ResNets
    "MODEL.DOMAIN.GLOBAL.IN_FEATURE": "res4",
    "MODEL.DOMAIN.GLOBAL.WEIGHT": 1.0,
    "MODEL.DOMAIN.GLOBAL.REVERSAL": 1.0,
    "MODEL.DOMAIN.GLOBAL.CONTEXT": False,
    "MODEL.DOMAIN.GLOBAL.MODULATION": "focal",
    "MODEL.DOMAIN.GLOBAL.GAMMA": 5.0,
    "MODEL.DOMAIN.GLOBAL.DROPOUT": 0.5,
    "MODEL.DOMAIN.DA_FASTER.IN_FEATURE": "res4",
    "MODEL.DOMAIN.DA_FASTER.REVERSAL": 0.1,
    "MODEL.DOMAIN.DA_FASTER.IMAGE_WEIGHT": 1.0,  # weights of the reimplementation, which has the consistency
    "MODEL.DOMAIN.DA_FASTER.INSTANCE_WEIGHT": 1.0,
    "MODEL.DOMAIN.DA_FASTER.CONSISTENCY_WEIGHT": 0.1,
    "MODEL.DOMAIN.DA_FASTER.REGIONS": 128,
    "DATASETS.TARGET": (),
    "SOLVER.TARGET_IMS_PER_BATCH": 0,
    "INPUT.TRANSLATED.FOLDER": "",
    "INPUT.TRANSLATED.ROOT": "",
    "INPUT.TRANSLATED.PROBABILITY": 1.0,
    "INPUT.TOBIAS.TABLE": "",
    "INPUT.TOBIAS.ROOT": "",
    "INPUT.TOBIAS.PROBABILITY": 0.3,
    "INPUT.TOBIAS.BOXES": "reject",
}


def literal(value):
    """detectron2 reads a string as Python where it can: "(600,)" is a tuple."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value


def flat(node, name=""):
    if not isinstance(node, dict):
        return {name: literal(node)}
    return {
        path: value
        for key, below in node.items()
        for path, value in flat(below, f"{name}.{key}" if name else key).items()
    }


def read(name):
    """A file's values by their full names, over those of the file that it builds on."""
    own = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    base = own.pop("_BASE_", None)
    return {**(read(base) if base else {}), **flat(own)}


def typed(values):
    """With the types: 1 is not 1.0 to detectron2, nor a list a tuple."""
    return {name: (type(value), value) for name, value in values.items()}


def test_every_file_is_written_out_here():
    assert {path.name for path in CONFIGS.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_value_is_the_sources_own(name):
    assert typed(read(name)) == typed(EXPECTED[name])


def test_the_defaults_are_the_sources_own():
    """Read from the file, since importing it needs detectron2."""
    body = ast.parse((FOLDER / "config.py").read_text(encoding="utf-8"))
    (function,) = (each for each in body.body if getattr(each, "name", "") == "add_tobias_config")
    found = {
        ast.unparse(line.targets[0]).removeprefix("cfg."): ast.literal_eval(line.value)
        for line in function.body
        if isinstance(line, ast.Assign) and not isinstance(line.value, ast.Call)
    }
    assert typed(found) == typed(DEFAULTS)


@pytest.mark.parametrize("name", EXPECTED)
def test_detectron2_reads_what_is_read_here(name):
    pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")
    from tobias_aug.integrations.detectron2 import get_tobias_cfg

    cfg = get_tobias_cfg(name)
    for path, value in {**DEFAULTS, **EXPECTED[name]}.items():
        node = cfg
        for part in path.split("."):
            node = node[part]
        assert node == value, path
        assert type(node) is type(value), path
