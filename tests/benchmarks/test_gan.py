"""The GAN benchmark on made-up archives: trains, resumes, scores, and says what is missing."""

import io
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra train")

from benchmarks.command import DataError, data_root
from benchmarks.gan.run import at_equal_time, folder_of, main, options_of, parser_of, renamed, rows_of, scored
from benchmarks.gan.sets import read_set
from tests.gan.test_chain import Averages
from tobias_aug.gan import read_result

SMALL = ["--size", "32", "--width", "8", "--batch-size", "4", "--steps", "4", "--keep-every", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Both archives, of 20 images each beside others that are no cars."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for archive, names in {
        "cars64.tar.gz": [f"cars64/images/{number}.webp" for number in range(20)],
        "cifar10_train.tar.gz": [
            f"train/{kind}/{number}.jpg" for kind in ("automobile", "bird") for number in range(20)
        ],
    }.items():
        with tarfile.open(folder / archive, "w:gz") as opened:
            for name in names:
                content = io.BytesIO()
                pixels = random.integers(0, 60, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(content, name.rsplit(".")[-1].replace("jpg", "jpeg"))
                member = tarfile.TarInfo(name)
                member.size = content.tell()
                content.seek(0)
                opened.addfile(member, content)
    return folder


def arguments(data, path, *more):
    return ["--data", str(data), "--json", str(path), *SMALL, *more]


def test_only_cars_are_read(data):
    assert read_set("cifar10-automobile", data, 32).pixels.shape == (20, 3, 32, 32)
    assert len(read_set("cars64", data, 16)) == 20


def test_a_run_is_trained_once_scored_and_makes_rows(data, tmp_path, monkeypatch):
    given = arguments(data, tmp_path / "out.json", "--train-only", "--models", "dcgan,logan")
    monkeypatch.setattr(sys, "argv", ["gan", *given])
    main()
    args = parser_of().parse_args(given)
    runs = {}
    for model in ("dcgan", "logan"):
        folder = folder_of(args, tmp_path / "out.runs", model, 0)
        stamp = (folder / "gan.pt").stat().st_mtime_ns
        assert read_result(folder).options == options_of(args, model, 0)
        with pytest.warns(UserWarning, match="10 images have a covariance"):
            found = scored(folder, read_set("cars64", data, 32), Averages(), args)
        assert list(found["curve"]) == ["2", "4"]
        runs[f"cars64, {model}"] = {"0": found | {"settings": {"steps": 4}}}
    main()
    assert (folder / "gan.pt").stat().st_mtime_ns == stamp
    names = [row.name for row in rows_of(runs)]
    assert "cars64, dcgan: KID" in names
    assert "cars64, logan: Frechet distance (averages) of real images" in names
    # The report's FID stands beside an FID alone.
    assert all(row.reference is None for row in rows_of(runs) if "Frechet" in row.name)


def test_a_slower_model_is_also_read_at_equal_time():
    settings = {"steps": 100}
    fast = {"curve": {"50": 0.5, "100": 0.4}, "seconds_per_step": 1.0, "settings": settings}
    slow = {"curve": {"25": 0.8, "50": 0.7, "100": 0.1}, "seconds_per_step": 3.0, "settings": settings}
    runs = {"cars64, dcgan": {"0": fast}, "cars64, logan": {"0": slow}, "cars64, sagan, DiffAugment color": {"0": slow}}
    assert at_equal_time(runs, "cars64, logan") == [0.8]
    assert at_equal_time(runs, "cars64, dcgan") == []
    assert at_equal_time(runs, "cars64, sagan, DiffAugment color") == []
    runs["cars64, logan"]["0"] = slow | {"curve": {"100": 0.1}}
    assert at_equal_time(runs, "cars64, logan") == []


def test_the_options_of_before_are_understood():
    parser = parser_of()
    with pytest.warns(FutureWarning, match="the dataset is --set"):
        args = renamed(parser.parse_args(["--data", "cifar10-automobile"]))
    assert (args.set, args.data) == ("cifar10-automobile", data_root())
    with pytest.warns(FutureWarning) as warned:
        args = renamed(parser.parse_args(["--data", "cutouts:a/b", "--folder", "there"]))
    assert (args.set, str(args.data), len(warned)) == ("cutouts:a/b", "there", 2)
    assert renamed(parser.parse_args(["--data", "there"])).set == "cars64"


def test_cars_of_torchvisions_cifar10_are_looked_for_first(data, tmp_path):
    """Its content cannot be made up, since torchvision checks it by MD5."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar10_train.tar.gz").symlink_to(data / "cifar10_train.tar.gz")
    with pytest.raises(DataError, match="cifar-10-batches-py is not whole"):
        read_set("cifar10-automobile", tmp_path, 32)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "trucks"], "there is no dataset trucks; there are cars64, cifar10-automobile and cutouts:DIR"),
        (["--data", "nowhere"], "cars64.tar.gz"),
        (["--models", "biggan"], "no biggan; there are dcgan"),
    ],
)
def test_bad_input_gets_one_line(data, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    given = arguments(data, tmp_path / "out.json", "--train-only", *more)
    monkeypatch.setattr(sys, "argv", ["gan", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_cut_outs_are_read_on_green(tmp_path):
    Image.new("RGBA", (20, 30), (0, 0, 0, 0)).save(tmp_path / "empty.png")
    pixels = read_set(f"cutouts:{tmp_path}", tmp_path, 32).pixels
    assert torch.equal(pixels[0, :, 0, 0], torch.tensor([51, 255, 51], dtype=torch.uint8))
