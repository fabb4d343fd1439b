"""mmseg on mmcv-lite: what imports, what raises, which checkpoints are read, and messages about missing parts."""

import pickle
import subprocess
import sys

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import allow_checkpoints, config_path, enable_mmcv_lite, mmcv_lite

# isort: split

import mmcv
import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub

pytestmark = pytest.mark.slow

lite = pytest.mark.skipif(not enable_mmcv_lite(), reason="full mmcv is installed")


@lite
def test_without_it_mmseg_cannot_be_imported_and_with_it_everything_can():
    """In processes of their own, so that nothing is there yet."""
    parts = ("apis", "datasets", "engine", "evaluation", "models", "visualization")
    rest = "; ".join(f"import mmseg.{name}" for name in parts)
    plain = subprocess.run([sys.executable, "-c", "import mmseg.datasets"], capture_output=True, text=True)
    assert "No module named 'mmcv._ext'" in plain.stderr
    found = "from mmcv.utils.ext_loader import check_ops_exist; print(check_ops_exist())"
    code = f"import tobias_aug.integrations.mmseg; {rest}; {found}"
    enabled = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert enabled.stdout.strip() == "False"


@lite
def test_an_operator_says_its_name_and_what_to_install():
    from mmcv.ops import nms

    with pytest.raises(RuntimeError, match=r"nms is a compiled operator of mmcv, and mmcv-lite has none.*mmcv==2.1.0"):
        nms(torch.rand(3, 4), torch.rand(3), 0.5)


@lite
def test_the_module_in_their_place_has_a_spec_and_no_other_dunders():
    module = sys.modules["mmcv._ext"]
    assert module.__spec__.name == "mmcv._ext"
    assert module.carafe_forward.__name__ == "carafe_forward"
    assert not hasattr(module, "__path__")
    assert enable_mmcv_lite()
    assert sys.modules["mmcv._ext"] is module


def test_full_mmcv_is_left_alone(monkeypatch):
    import json as compiled

    monkeypatch.setitem(sys.modules, "mmcv._ext", compiled)
    assert not enable_mmcv_lite()
    assert sys.modules["mmcv._ext"] is compiled


def test_operators_built_for_another_torch_are_said(monkeypatch, tmp_path):
    (tmp_path / "_ext.py").write_text("raise ImportError('undefined symbol: c10')")
    monkeypatch.delitem(sys.modules, "mmcv._ext", raising=False)
    monkeypatch.setattr(mmcv, "__path__", [*mmcv.__path__, str(tmp_path)])
    with pytest.raises(ImportError, match=r"do not load \(undefined symbol: c10\).*built for another torch"):
        enable_mmcv_lite()


def test_an_unsuitable_mmcv_says_which_to_install(monkeypatch):
    monkeypatch.setattr(mmcv, "__version__", "2.2.0")
    with pytest.raises(ImportError, match=r"works with mmcv 2.0 and 2.1, got 2.2.0.*pip install 'mmcv-lite==2.1.0'"):
        enable_mmcv_lite()


def test_what_is_missing_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(mmcv_lite, "_NEEDED", (*mmcv_lite._NEEDED, "mm_not_there"))
    message = r"needs mm_not_there; install the extra .mmseg., in a clone .* pip install '.\[mmseg\]'.*mmcv-lite"
    with pytest.raises(ImportError, match=message):
        enable_mmcv_lite()


def test_no_mmseg_at_all_names_the_extra():
    code = "import sys; sys.modules['mmseg'] = sys.modules['ftfy'] = None; import tobias_aug.integrations.mmseg"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: tobias_aug.integrations.mmseg needs mmseg, ftfy; install the extra" in failed.stderr


@pytest.fixture
def logged(tmp_path):
    """A checkpoint with all that mmengine stores beside tensors: log histories, NumPy numbers, plain things."""
    hub = MessageHub.get_instance("test_mmseg_lite")
    hub.update_scalar("train/loss", torch.tensor(2.0))
    hub.update_scalar("train/loss", 4.0)
    for name, kind in (("a", np.float32), ("b", np.float64), ("c", np.int64)):
        hub.update_info(name, kind(3))
    hub.update_info("counts", np.arange(3))
    path = tmp_path / "epoch_1.pth"
    torch.save({"state_dict": {"weight": torch.ones(2)}, "message_hub": hub.state_dict()}, path)
    return path


def test_checkpoints_are_read_with_torchs_safety_on(logged):
    stored = torch.load(logged, weights_only=True)
    history = stored["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(history, HistoryBuffer)
    assert [history.mean(), history.max(), history.statistics("min"), history.current()] == [3.0, 4.0, 2.0, 4.0]
    assert stored["message_hub"]["runtime_info"]["counts"].tolist() == [0, 1, 2]


def test_without_us_they_are_rejected(logged):
    """Otherwise the test above would prove nothing. In a process of its own."""
    code = f"import torch, mmengine; torch.load({str(logged)!r})"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Weights only load failed" in failed.stderr


class Attack:
    """Pickles to a call or to an attribute, as a poisoned checkpoint would."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Attack(print, "run"), "print"),
        (Attack(eval, "1 + 1"), "eval"),
        (Attack(getattr, HistoryBuffer, "__init__"), "asks for HistoryBuffer.__init__"),
        (Attack(getattr, HistoryBuffer, "register_statistics"), "asks for HistoryBuffer.register_statistics"),
        (Attack(getattr, np.ndarray, "tofile"), "asks for ndarray.tofile"),
        (Attack(getattr, {"a": 1}, "clear"), "asks for dict.clear"),
    ],
)
def test_whatever_else_a_checkpoint_asks_for_is_rejected(tmp_path, attack, message):
    torch.save({"message_hub": attack}, tmp_path / "poisoned.pth")
    with pytest.raises(pickle.UnpicklingError, match=message):
        torch.load(tmp_path / "poisoned.pth")


def test_allowing_twice_adds_nothing(logged):
    before = set(torch.serialization.get_safe_globals())
    allow_checkpoints()
    assert set(torch.serialization.get_safe_globals()) == before
    assert getattr not in before
    assert eval not in before


def test_ready_configurations_are_found_by_name():
    assert config_path("camvid240").endswith("camvid240.py")
    with pytest.raises(ValueError, match="no configuration 'coco'; there are camvid240.*, voc_pseudo_labels"):
        config_path("coco")
