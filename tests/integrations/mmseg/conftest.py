"""Two small domains as configurations of mmseg."""

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

from mmengine.registry import init_default_scope

from tests.integrations.mmseg.adaptation import CLASSES, LOAD


@pytest.fixture
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
