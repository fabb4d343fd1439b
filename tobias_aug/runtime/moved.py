"""Modules by the names that they had before each method got a folder of its own: importable for one version."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

_MOVED = """
between_class.functional between_class.image_functional
checkpoints weights.checkpoints
detectron2_layout weights.detectron2
devices runtime.devices
files runtime.files
images.filters localization.filters
images.fog adaptation.fog
images.places images.paths
localization.colour localization.color
localization.fusion localization.onednn
masks.builder masks.build.builder
masks.combine masks.table.combine
masks.compute masks.build.compute
masks.formats class_maps
masks.formats.class_maps class_maps.class_maps
masks.formats.index_png class_maps.index_png
masks.formats.layouts class_maps.layouts
masks.formats.npz class_maps.npz
masks.formats.plain_pickle class_maps.plain_pickle
masks.formats.rle masks.rle
masks.index masks.table.key_index
masks.index_file masks.table.lookup
masks.key_hash masks.table.key_hash
masks.parts masks.table.parts
masks.plan masks.build.plan
masks.ranks masks.build.ranks
masks.ray_engine masks.build.ray
masks.verify masks.build.verify
mixing.controls mixing.baselines
orand.attention cams.attention
orand.cam_folder cams.folder
orand.cams cams.cams
orand.classifiers cams.classifiers
orand.crf refine.crf
orand.folder_runs runtime.folder
orand.folders orand.folder
orand.image_labels class_maps.image_labels
orand.irn irn.net
orand.irn_affinity irn.affinity
orand.irn_apply irn.apply
orand.irn_data irn.data
orand.irn_train irn.train
orand.irn_walk irn.walk
orand.linear_head cams.linear_head
orand.matching class_maps.matching
orand.pairs orand.data
orand.pamr refine.pixel_adaptive
orand.pseudo_labels class_maps.pseudo_labels
orand.refine refine.refine
orand.refine_folder refine.folder
orand.scores metrics.folders
orand.training orand.train
patch_merge.gather patch_merge.kernels
patch_merge.pictures patch_merge.pil
progress runtime.progress
training.launch training.fabric
workers runtime.workers
"""
NEW = {f"tobias_aug.{old}": f"tobias_aug.{new}" for old, new in map(str.split, _MOVED.split("\n")[1:-1])}
# Names in these modules that changed as well.
NAMES = {
    "tobias_aug.irn.data": {"LabelledCrops": "LabeledCrops"},
    "tobias_aug.between_class.image_functional": {"deviations": "stds"},
    "tobias_aug.patch_merge.pil": {"merge_pictures": "merge_images"},
    "tobias_aug.adaptation.fog": {"fog_and_colour": "fog_and_color"},
}


class _Moved(MetaPathFinder, Loader):
    """Finds a module under its old name: it is the new one, and says so."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname in NEW else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = NEW[spec.name]
        warnings.warn(f"{spec.name} is called {new} now; the old name goes with the next version", FutureWarning, 2)
        module = import_module(new)
        for old, name in NAMES.get(new, {}).items():
            setattr(module, old, getattr(module, name))
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It has been executed under its new name, whose spec the import system has just replaced.
        module.__spec__ = self._spec


def find_moved_modules() -> None:
    """Let old names of modules be imported; empty folders of earlier versions do not stand in the way."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())
