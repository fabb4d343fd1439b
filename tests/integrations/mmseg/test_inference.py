"""Each ready configuration is whole: mmseg's inference, inferencer and test tool run on it as it is shipped."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import FogAndColor, config_path

# isort: split

import mmcv
import mmseg
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.registry import DATASETS
from PIL import Image

from tobias_aug.class_maps import write_index_mask

pytestmark = pytest.mark.slow

NAMES = sorted(
    path.stem for path in Path(config_path("camvid240")).parent.glob("*.py") if not path.stem.startswith("_")
)
CAMVID = [name for name in NAMES if name.startswith("camvid240")]
TOOLS = Path(mmseg.__file__).parent / ".mim" / "tools"
VOID = 11


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    """Two scenes in each part of CamVid's folders, with all classes and void."""
    random = np.random.default_rng(1)
    for part in ("train", "val", "test"):
        for folder in (part, f"{part}annot"):
            (tmp_path / "camvid240" / folder).mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (40, 56, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "camvid240" / part / f"{part}_{number}.jpg")
            mask = random.integers(0, VOID + 1, (40, 56), dtype=np.uint8)
            write_index_mask(tmp_path / "camvid240" / f"{part}annot" / f"{part}_{number}.png", mask)
    monkeypatch.setenv("TOBIAS_AUG_DATA", str(tmp_path))
    return tmp_path / "camvid240"


def test_all_configurations_are_tried():
    assert NAMES == ["camvid240", "camvid240_adr", "camvid240_mcd", "camvid240_source", "voc_pseudo_labels"]


@pytest.mark.parametrize("name", NAMES)
def test_the_hosts_two_ways_to_predict_agree(name, image, tmp_path):
    config = Config.fromfile(config_path(name))
    model = init_model(config, device="cpu")
    from_file = inference_model(model, image).pred_sem_seg.data[0].numpy()
    assert from_file.shape == (45, 61)
    assert 0 <= from_file.min() <= from_file.max() < model.num_classes

    inferencer = MMSegInferencer(config_path(name), device="cpu")
    inferencer.model.load_state_dict(model.state_dict())
    given = inferencer([image, mmcv.imread(image)], out_dir=str(tmp_path / "out"))
    for prediction in given["predictions"]:
        assert np.array_equal(prediction, from_file)
    assert (tmp_path / "out" / "vis" / "photo.jpg").is_file()
    assert np.array_equal(inference_model(model, mmcv.imread(image)).pred_sem_seg.data[0].numpy(), from_file)


@pytest.mark.parametrize("name", CAMVID)
def test_void_is_ignored_in_training_and_in_scores(name, camvid):
    config = Config.fromfile(config_path(name))
    init_default_scope("mmseg")
    train = DATASETS.build(config.train_dataloader.dataset)
    samples = [getattr(train, "source", train)[0]["data_samples"]]
    for loader in (config.val_dataloader, config.test_dataloader):
        samples.append(DATASETS.build(loader.dataset)[0]["data_samples"])
    for sample in samples:
        assert sample.gt_sem_seg.data.unique().tolist() == [*range(VOID), 255]


@pytest.mark.parametrize("name", [name for name in CAMVID if name != "camvid240"])
def test_the_test_set_is_foggy_and_a_users_image_is_not(name, camvid):
    config = Config.fromfile(config_path(name))
    init_default_scope("mmseg")
    foggy = DATASETS.build(config.test_dataloader.dataset)[0]["inputs"].permute(1, 2, 0).numpy()
    clear = mmcv.imread(str(camvid / "test" / "test_0.jpg"))
    assert np.array_equal(foggy, FogAndColor()({"img": clear, "img_path": "test_0.jpg"})["img"])
    assert not np.array_equal(foggy, clear)


@pytest.mark.skipif(not (TOOLS / "test.py").is_file(), reason="this build of mmseg brings no tools")
def test_mmsegs_own_test_tool_scores_flips_and_draws(camvid, tmp_path):
    """In a process of its own: the host keeps one visualizer for each process."""
    config = Config.fromfile(config_path("camvid240_mcd"))
    torch.save({"state_dict": init_model(config, device="cpu").state_dict(), "meta": {}}, tmp_path / "weights.pth")
    folders = ["--work-dir", str(tmp_path / "work"), "--show-dir", str(tmp_path / "drawn")]
    options = ["default_hooks.visualization.interval=1", "test_dataloader.num_workers=0"]
    command = [sys.executable, TOOLS / "test.py", config_path("camvid240_mcd"), tmp_path / "weights.pth", *folders]
    command += ["--tta", "--cfg-options", *options, "test_dataloader.persistent_workers=False"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert len(list((tmp_path / "drawn").glob("vis_data/vis_image/*.png"))) == 2
    (scores,) = (tmp_path / "work").glob("*/*.json")
    assert '"mIoU"' in scores.read_text()


def test_fog_needs_a_file_name_or_leaves_inference_alone():
    image = np.full((40, 60, 3), 100, np.uint8)
    for name in (None, ""):
        with pytest.raises(ValueError, match="draws the fog from the image's file name, and this image has none"):
            FogAndColor()({"img": image, "img_path": name})
    quiet = FogAndColor(inference=False)
    assert quiet({"img": image, "img_path": None})["img"] is image
    of_a_dataset = quiet({"img": image, "img_path": "a.jpg", "sample_idx": 0})["img"]
    assert np.array_equal(of_a_dataset, FogAndColor()({"img": image, "img_path": "a.jpg"})["img"])
