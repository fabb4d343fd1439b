"""What reads a table's images opens them as the build did; options that nothing reads are rejected."""

import io
import shutil
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tobias_aug import BorderContrast, MaskTable, build_masks
from tobias_aug.masks import verify_masks

FAST = ("--localizer", "border-contrast", "--workers", 0)


def as_folder(photos, tmp_path):
    return photos, ()


def as_large(photos, tmp_path):
    return photos, ("--max-pixels", 100_000)


def as_list(photos, tmp_path):
    (tmp_path / "lists.txt").write_text("\n".join(str(p.relative_to(photos)) for p in photos.rglob("*.jpg")))
    return tmp_path / "lists.txt", ("--root", photos)


def as_shards(photos, tmp_path):
    (tmp_path / "shards").mkdir()
    for number in range(2):
        with tarfile.open(tmp_path / "shards" / f"s-{number}.tar", "w") as archive:
            archive.add(photos, arcname="in")
    return tmp_path / "shards" / "s-{0..1}.tar", ("--keys-by-file",)


def as_folder_of_shards(photos, tmp_path):
    as_shards(photos, tmp_path)
    return tmp_path / "shards", ("--format", "tar", "--keys-by-file")


def as_parquet(photos, tmp_path):
    files = sorted(photos.rglob("*.jpg"))
    columns = {"img": [path.read_bytes() for path in files], "id": [path.name for path in files]}
    pq.write_table(pa.table(columns), tmp_path / "d.data")
    return tmp_path / "d.data", ("--format", "parquet", "--column", "img", "--key-column", "id")


WAYS = [as_folder, as_large, as_list, as_shards, as_folder_of_shards, as_parquet]


@pytest.fixture(params=WAYS)
def built(request, tobias, photos, tmp_path, monkeypatch):
    """A table's folder, what it was built from, and with which options; by relative names."""
    images, options = request.param(photos, tmp_path)
    if request.param is as_large:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # Less than the photos have.
    monkeypatch.chdir(tmp_path)
    status, _, said = tobias("masks", "build", images.relative_to(tmp_path), "-o", "table", *options, *FAST)
    assert status == 0, said
    return tmp_path / "table", images, options


GOOD = ["missing: 0", "extra: 0", "changed: 0"]


def test_verify_and_show_need_no_word_of_the_images(tobias, built, tmp_path, monkeypatch):
    folder, images, options = built
    monkeypatch.chdir("/")
    for given in ((), ("--images", images), ("--images", images, *options)):
        status, said, error = tobias("masks", "verify", folder, *given)
        assert (status, said.splitlines()[1:]) == (0, GOOD), error
        status, _, error = tobias("masks", "show", folder, "-n", 3, "-o", tmp_path / "sheets" / "sheet.png", *given)
        assert status == 0, error
        assert (tmp_path / "sheets" / "sheet.png").stat().st_size > 5000
    table = MaskTable.open(folder)
    assert verify_masks(table, localizer="border-contrast").is_good
    assert verify_masks(table, str(images), BorderContrast()).is_good


def test_images_that_moved_are_opened_as_before(tobias, photos, tmp_path):
    images, options = as_shards(photos, tmp_path)
    assert tobias("masks", "build", images, "-o", tmp_path / "table", *options, *FAST)[0] == 0
    (tmp_path / "shards").rename(tmp_path / "moved")
    status, _, error = tobias("masks", "verify", tmp_path / "table")
    assert status == 2
    assert "shards" in error
    moved = tmp_path / "moved" / "s-{0..1}.tar"
    status, said, _ = tobias("masks", "verify", tmp_path / "table", "--images", moved)
    assert (status, said.splitlines()[1:]) == (0, GOOD)


def test_what_cannot_be_read_now_is_a_list_of_its_own_with_reasons(tobias, photos, tmp_path):
    assert tobias("masks", "build", photos, "-o", tmp_path / "table", *FAST)[0] == 0
    (photos / "cat" / "01.jpg").write_bytes(b"broken")
    status, said, _ = tobias("masks", "verify", tmp_path / "table")
    assert status == 1
    assert said.splitlines()[1:5] == [*GOOD, "unreadable now: 1"]
    assert said.splitlines()[5].startswith("  cat/01.jpg: UnidentifiedImageError: cannot identify")
    status, _, said = tobias("masks", "show", tmp_path / "table", "-o", tmp_path / "sheet.png")
    assert (status, "cat/01.jpg: cannot identify" in said) == (2, True)
    assert not (tmp_path / "sheet.png").exists()


def test_a_table_of_a_users_dataset_asks_for_the_images(tobias, photos, tmp_path):
    build_masks([(Image.new("RGB", (30, 20)), 0)], "border-contrast", tmp_path / "table", workers=0, quiet=True)
    status, _, said = tobias("masks", "verify", tmp_path / "table")
    assert status == 2
    assert "does not say where its images were; give them as they were given to the build" in said


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 40), (2000, 1)])
def test_an_image_smaller_than_the_grid_is_shown(tobias, photos, tmp_path, size):
    Image.new("RGB", size, (9, 99, 200)).save(photos / "tiny.png")
    assert tobias("masks", "build", photos, "-o", tmp_path / "table", *FAST)[0] == 0
    status, _, said = tobias("masks", "show", tmp_path / "table", "-o", tmp_path / "sheet.png")
    assert status == 0, said


UNUSED = [
    ("build", ("--localizer", "border-contrast", "--arch", "nope"), "--arch is not for --localizer border-contrast"),
    ("build", ("--localizer", "border-contrast", "--precision", "fp32"), "--precision is not for --localizer border"),
    ("build", ("--localizer", "center-prior", "--seed", 0, "--weights", "x"), "--seed, --weights are not for --locali"),
    ("build", ("--seed", 1, "--weights", "x"), "--seed draws random weights, and --weights gives your own"),
    ("build", ("--root", "x"), "--root is for images of the format list, and these are of the format folder"),
    ("build", ("--column", "image"), "--column is for images of the format parquet"),
    ("build", ("--key-column", "id"), "--key-column is for images of the format parquet"),
    ("build", ("--keys-by-file",), "--keys-by-file is for images of the format tar or parquet"),
    ("verify", ("--root", "."), "--root is for images of the format list"),
    ("verify", ("--weights", "x"), "--weights is for tables made with weights of your own, and this one was not"),
    ("show", ("--keys-by-file",), "--keys-by-file is for images of the format tar or parquet"),
    ("show", ("--weights", "x"), "--weights is for tables made with weights of your own"),
]


@pytest.mark.parametrize(("command", "options", "message"), UNUSED)
def test_an_option_that_nothing_reads_is_rejected(tobias, photos, tmp_path, command, options, message):
    table, new = tmp_path / "table", tmp_path / "new"
    build_masks(photos, "border-contrast", table, workers=0, quiet=True)
    places = {"build": (photos, "-o", new), "verify": (table,), "show": (table, "-o", tmp_path / "s.png")}
    status, _, said = tobias("masks", command, *places[command], *options)
    assert (status, message in said) == (2, True), said
    assert not new.exists()
    assert not (tmp_path / "s.png").exists()


@pytest.mark.parametrize("command", ["build", "show", "verify"])
@pytest.mark.parametrize("seed", [-1, 2**70])
def test_a_seed_out_of_range_is_named(tobias, tmp_path, command, seed):
    if command == "build" and seed > 0:
        pytest.skip("NumPy's generator takes any")
    where = {"build": ("photos", "-o", "x"), "show": ("table", "-o", "x.png"), "verify": ("table",)}[command]
    status, _, said = tobias("masks", command, *where, "--seed", seed)
    assert status == 2
    assert "--seed" in said


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sheet", "must end in one of .png, .jpg, .jpeg, .webp, .tif, .tiff, for example sheet.png"),
        ("sheet.docx", "must end in one of .png"),
        ("folder.png", "is a folder; give the name of a file in it"),
    ],
)
def test_a_sheets_name_is_looked_at_before_the_work(tobias, tmp_path, name, message):
    (tmp_path / "folder.png").mkdir()
    status, _, said = tobias("masks", "show", "no table", "-o", tmp_path / name)
    assert (status, message in said) == (2, True), said


@pytest.mark.parametrize("extension", ["png", "jpg", "WEBP", "tif"])
def test_a_sheet_is_written_whole(tobias, photos, tmp_path, extension):
    build_masks(photos, "border-contrast", tmp_path / "table", workers=0, quiet=True)
    out = tmp_path / "new" / "folder" / f"sheet.{extension}"
    assert tobias("masks", "show", tmp_path / "table", "-n", 2, "-o", out)[0] == 0
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    with Image.open(out) as sheet:
        sheet.load()


def test_filter_names_the_commands_option_and_reads_lists_as_they_are_written(tobias, photos, tmp_path):
    table = build_masks(photos, "border-contrast", tmp_path / "table", workers=0, quiet=True)
    keys = list(table)[:2]
    (tmp_path / "keys.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*keys, "", "nope.jpg", ""]).encode())
    command = ("masks", "filter", tmp_path / "table", "--keys", tmp_path / "keys.txt", "-o", tmp_path / "few")
    status, _, said = tobias(*command)
    assert (status, "--skip-missing" in said, "holds no mask for 'nope.jpg'; correct" in said) == (2, True, True)
    assert tobias(*command, "--skip-missing")[0] == 0
    assert list(MaskTable.open(tmp_path / "few")) == keys


def test_the_command_line_says_how_to_try_failed_images_again(tobias, photos, tmp_path):
    shutil.copy(photos / "cat" / "01.jpg", tmp_path / "good.jpg")
    (photos / "cat" / "01.jpg").write_bytes(b"broken")
    build = ("masks", "build", photos, "-o", tmp_path / "table", *FAST)
    for _ in range(2):
        status, said, warned = tobias(*build)
        assert (status, "Mend them and run this again with --retry-failed" in said) == (1, True)
        assert "FailureWarning" not in warned
    shutil.copy(tmp_path / "good.jpg", photos / "cat" / "01.jpg")
    assert tobias(*build, "--retry-failed")[0] == 0


def test_a_build_of_nothing_readable_is_a_rejection(tobias, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"broken")
    status, _, said = tobias("masks", "build", tmp_path / "images", "-o", tmp_path / "table", *FAST)
    assert status == 2
    assert "none of 1 images could be read (a.png: UnidentifiedImageError" in said


def test_a_localizer_of_ones_own_is_verified_in_python(tobias, photos, tmp_path, brightness):
    build_masks(photos, brightness, tmp_path / "table", workers=0, quiet=True)
    status, _, said = tobias("masks", "verify", tmp_path / "table")
    assert (status, "which only your own code can make; use tobias_aug.masks.build.verify.verify_masks" in said) == (
        2,
        True,
    )
    assert verify_masks(MaskTable.open(tmp_path / "table"), localizer=brightness).is_good


def test_an_image_out_of_memory_bytes_is_shown(tobias, tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(data, "PNG")
    pq.write_table(pa.table({"image": [data.getvalue()]}), tmp_path / "d.parquet")
    assert tobias("masks", "build", tmp_path / "d.parquet", "-o", tmp_path / "table", *FAST)[0] == 0
    assert tobias("masks", "show", tmp_path / "table", "-o", tmp_path / "sheet.png")[0] == 0
