"""Adaptation to an unlabeled domain: losses and models for any training loop.

The training steps on Lightning Fabric are in :mod:`tobias_aug.adaptation.steps`.
"""

from tobias_aug.adaptation.adr import ADR, dropout_discrepancy
from tobias_aug.adaptation.alignment import FeatureAlignment
from tobias_aug.adaptation.batch_norm import adapt_batch_norm
from tobias_aug.adaptation.da_faster import DAFasterAlignment, ImageAlignment, RegionAlignment, consistency_loss
from tobias_aug.adaptation.dann import DANNLoss, DomainDiscriminator, domain_loss
from tobias_aug.adaptation.domains import DomainLoader, UnlabeledImages, images_alone
from tobias_aug.adaptation.fog import fog_and_color
from tobias_aug.adaptation.mcd import MCD, class_balance, discrepancy
from tobias_aug.adaptation.mmd import MMDLoss, mmd_squared
from tobias_aug.adaptation.open_set import OSBP, OpenSetLoss, open_set_svm, unknown_loss
from tobias_aug.adaptation.reversal import GradientReversal, ReversalSchedule, reversal_schedule, reverse_gradient
from tobias_aug.adaptation.strong_weak import (
    GlobalAlignment,
    LocalAlignment,
    focal_domain_loss,
    least_squares_domain_loss,
)
from tobias_aug.runtime.renamed import renamed_attribute

__getattr__ = renamed_attribute(__name__, {"UnlabelledImages": "UnlabeledImages"}, globals())

__all__ = [
    "ADR",
    "MCD",
    "OSBP",
    "DAFasterAlignment",
    "DANNLoss",
    "DomainDiscriminator",
    "DomainLoader",
    "FeatureAlignment",
    "GlobalAlignment",
    "GradientReversal",
    "ImageAlignment",
    "LocalAlignment",
    "MMDLoss",
    "OpenSetLoss",
    "RegionAlignment",
    "ReversalSchedule",
    "UnlabeledImages",
    "adapt_batch_norm",
    "class_balance",
    "consistency_loss",
    "discrepancy",
    "domain_loss",
    "dropout_discrepancy",
    "focal_domain_loss",
    "fog_and_color",
    "images_alone",
    "least_squares_domain_loss",
    "mmd_squared",
    "open_set_svm",
    "reversal_schedule",
    "reverse_gradient",
    "unknown_loss",
]
