import pytest
import torch

lightly = pytest.importorskip("lightly", reason="needs the extra lightly")

import numpy as np  # noqa: E402
from lightly.data import LightlyDataset, MultiViewCollate  # noqa: E402
from lightly.transforms import DINOTransform, MoCoV2Transform, SimCLRTransform  # noqa: E402
from lightly.transforms.multi_view_transform import MultiViewTransform  # noqa: E402
from PIL import Image  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchvision.transforms.v2.functional import pil_to_tensor  # noqa: E402

from tobias_aug import MissingMaskError, RandomCNN, build_masks  # noqa: E402
from tobias_aug.images import read_rgb  # noqa: E402
from tobias_aug.integrations.lightly import ForegroundSegments, MergedViews, TobiasCollate  # noqa: E402
from tobias_aug.masks import cells_to_pixels  # noqa: E402


@pytest.fixture
def squares(tmp_path):
    """Images of one size, so that views stack without cropping."""
    random = np.random.default_rng(3)
    for number in range(8):
        path = tmp_path / "squares" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(path)
    return tmp_path / "squares"


@pytest.fixture
def table(squares, tmp_path, brightness):
    return build_masks(squares, brightness, tmp_path / "masks", workers=0, quiet=True)


def test_one_view_of_a_batch_keeps_its_objects_and_trades_backgrounds(squares, table):
    dataset = LightlyDataset(str(squares))
    collate = TobiasCollate(table, MultiViewTransform([pil_to_tensor, pil_to_tensor]), p=1.0)
    views, targets, filenames = next(iter(DataLoader(dataset, batch_size=8, collate_fn=collate)))
    assert filenames == dataset.get_filenames()
    assert targets.tolist() == [dataset[n][1] for n in range(8)]
    for n, name in enumerate(filenames):
        own = pil_to_tensor(read_rgb(squares / name))
        kept = cells_to_pixels(table[name], 32, 40)
        assert torch.equal(views[1][n], own)
        assert torch.equal(views[0][n][:, kept], own[:, kept])
        assert not torch.equal(views[0][n], own)


def test_p_zero_is_lightlys_own_collate(squares, table):
    def seed():
        torch.manual_seed(0)
        np.random.seed(0)  # lightly's blur draws from NumPy

    views = MoCoV2Transform(input_size=32)
    samples = [LightlyDataset(str(squares))[n] for n in range(4)]
    seed()
    plain = MultiViewCollate()([(views(image), target, name) for image, target, name in samples])
    collate = TobiasCollate(table, views, p=0.0, generator=torch.Generator())
    seed()
    ours = collate(samples)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(ours[0], plain[0], strict=True))
    assert torch.equal(ours[1], plain[1])
    assert ours[2] == plain[2]


@pytest.mark.parametrize("transform", [MoCoV2Transform, SimCLRTransform, DINOTransform])
@pytest.mark.parametrize("workers", [0, 2])
def test_any_multi_view_transform_works_in_workers(squares, table, transform, workers):
    options = {"global_crop_size": 32, "local_crop_size": 16} if transform is DINOTransform else {"input_size": 32}
    collate = TobiasCollate(table, transform(**options), p=0.5)
    dataset = LightlyDataset(str(squares))
    loader = DataLoader(dataset, batch_size=3, shuffle=True, collate_fn=collate, num_workers=workers)
    sizes = [len(filenames) for _, _, filenames in loader]
    assert sizes == [3, 3, 2]
    views, _, _ = next(iter(loader))
    assert len(views) == (8 if transform is DINOTransform else 2)
    assert views[0].shape == (3, 3, 32, 32)


def test_merged_views_are_a_lightly_dataset_with_backgrounds_from_all_of_it(squares, table):
    data = MergedViews(LightlyDataset(str(squares)), table, MoCoV2Transform(input_size=32), p=1.0)
    views, targets, filenames = next(iter(DataLoader(data, batch_size=8, collate_fn=MultiViewCollate())))
    assert [view.shape for view in views] == [(8, 3, 32, 32)] * 2
    assert filenames == data.images.get_filenames()
    assert targets.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_without_masks_random_cells_are_kept(squares):
    collate = TobiasCollate(None, MultiViewTransform([pil_to_tensor, pil_to_tensor]), p=1.0)
    views, _, _ = collate([LightlyDataset(str(squares))[n] for n in range(8)])
    assert not torch.equal(views[0], views[1])


def test_errors_say_what_is_missing_or_wrong(squares, table):
    dataset = LightlyDataset(str(squares))
    image = dataset[0][0]
    views = MultiViewTransform([pil_to_tensor, pil_to_tensor])
    with pytest.raises(MissingMaskError, match=r"no mask for 'new.jpg'"):
        TobiasCollate(table, views)([(image, 0, "new.jpg")])
    kept, _, _ = TobiasCollate(table, views, p=1.0, missing="keep")([(image, 0, "new.jpg"), dataset[1]])
    assert torch.equal(kept[0][0], kept[1][0])
    with pytest.raises(
        TypeError, match="needs PIL images from the dataset, .*, got list; give it the dataset without a transform"
    ):
        TobiasCollate(table, views)([([image, image], 0, "a/0.png")])
    with pytest.raises(ValueError, match="missing must be"):
        TobiasCollate(table, views, missing="drop")


def test_a_stored_image_is_turned_upright_before_its_mask_is_laid_on(tmp_path, brightness):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((32, 40, 3), dtype=np.uint8)
    pixels[:, :20] = 200
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "turned.png", exif=exif)
    table = build_masks(tmp_path / "in", brightness, tmp_path / "out", workers=0, quiet=True)
    assert table["turned.png"].tolist() == [[True] * 4, [True] * 4, [False] * 4, [False] * 4]
    collate = TobiasCollate(table, MultiViewTransform([pil_to_tensor, pil_to_tensor]), p=1.0)
    views, _, _ = collate([LightlyDataset(str(tmp_path / "in"))[0]])
    assert views[0].shape == (1, 3, 40, 32)
    assert (views[0][:, :, :20] == 200).all()


def test_segments_for_detcon_follow_the_cells():
    from lightly.transforms import DetConSTransform

    segments = ForegroundSegments(RandomCNN("resnet18"))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    mask = segments(image)
    assert mask.shape == (50, 70)
    assert mask.dtype == torch.int64
    assert 0.4 < mask.float().mean() < 0.6
    views = DetConSTransform(mask_fn=segments)(image)
    assert len(views) == 2


MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I", "F", "I;16"]


def of_mode(mode, size=(40, 32), seed=0):
    random = np.random.default_rng(seed)
    if mode in ("I", "F", "I;16"):
        made = Image.fromarray(random.integers(0, 60_000, size[::-1]).astype(np.float32 if mode == "F" else np.int32))
        return made if made.mode == mode else made.convert(mode)
    return Image.fromarray(random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_views_are_of_the_images_own_mode_changed_or_not(mode):
    seen = []
    view = lambda image: seen.append(image) or torch.zeros(1)  # noqa: E731
    collate = TobiasCollate(None, MultiViewTransform([view, view]), p=0.5)
    for seed in range(6):
        collate([(of_mode(mode, seed=seed), 0, f"{n}.png") for n in range(6)])
    assert {image.mode for image in seen} == {mode}
    assert {image.size for image in seen} == {(40, 32)}


@pytest.mark.parametrize("size", [(2, 2), (1, 1), (300, 1), (3, 40)])
def test_an_image_with_fewer_pixels_than_cells_stays_as_it_is(tmp_path, brightness, size):
    (tmp_path / "in").mkdir()
    for n, shape in enumerate([size, (40, 32)]):
        of_mode("RGB", shape, n).save(tmp_path / "in" / f"{n}.png")
    table = build_masks(tmp_path / "in", brightness, tmp_path / "out", workers=0, quiet=True)
    assert len(table) == 2
    seen = []
    collate = TobiasCollate(table, lambda image: seen.append(np.asarray(image)) or [torch.zeros(1)] * 2, p=1.0)
    for _ in range(5):
        collate([LightlyDataset(str(tmp_path / "in"))[n] for n in range(2)])
    tiny = [image for image in seen if image.shape[:2] == size[::-1]]
    assert len(tiny) >= 5
    assert all(np.array_equal(image, np.asarray(of_mode("RGB", size, 0))) for image in tiny)
    segments = ForegroundSegments(RandomCNN("resnet18"))(of_mode("RGB", size))
    assert segments.shape == size[::-1]
    assert segments.dtype == torch.int64
    assert set(segments.unique().tolist()) <= {0, 1}


def test_samples_of_torchvisions_datasets_are_joined_as_torch_joins_them(squares):
    from torch.utils.data import default_collate
    from torchvision.datasets import ImageFolder

    views = MultiViewTransform([pil_to_tensor, pil_to_tensor])
    data = ImageFolder(squares)
    loader = DataLoader(data, batch_size=4, collate_fn=TobiasCollate(None, views, p=0.0))
    for number, (made, targets) in enumerate(loader):
        plain = [data[number * 4 + n] for n in range(4)]
        expected = default_collate([(views(image), target) for image, target in plain])
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(made, expected[0], strict=True))
        assert torch.equal(targets, expected[1])
    changed, _ = TobiasCollate(None, views, p=1.0)([data[n] for n in range(8)])
    assert not torch.equal(*changed)
    made, targets, row = TobiasCollate(None, views)([(*data[n], n) for n in range(4)])
    assert row.tolist() == [0, 1, 2, 3]
    (made,) = TobiasCollate(None, views)([data[n][0] for n in range(4)])
    assert made[0].shape == (4, 3, 32, 40)


def test_masks_want_file_names(squares, table):
    from torchvision.datasets import ImageFolder

    views = MultiViewTransform([pil_to_tensor, pil_to_tensor])
    for samples in ([ImageFolder(squares)[0]], [(*ImageFolder(squares)[0], 3)]):
        with pytest.raises(ValueError, match=r"looks masks up by file name, .* give it a LightlyDataset, or wrap the"):
            TobiasCollate(table, views)(samples)
    made, targets = next(iter(DataLoader(MergedViews(ImageFolder(squares), table, views, p=1.0), batch_size=8)))
    assert [view.shape for view in made] == [(8, 3, 32, 40)] * 2
    assert targets.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize("view", [-1, 2, 7])
def test_a_view_that_the_transform_does_not_make_is_rejected(squares, view):
    views = MultiViewTransform([pil_to_tensor, pil_to_tensor])
    with pytest.raises(ValueError, match=f"view is the number of the view that is changed, 0 to 1, got {view}"):
        TobiasCollate(None, views, view=view)
    if view > 0:
        collate = TobiasCollate(None, lambda image: [pil_to_tensor(image)] * 2, p=0.0, view=view)
        with pytest.raises(ValueError, match=f"makes 2 views of an image, numbered from 0, and view {view} is"):
            collate([LightlyDataset(str(squares))[0]])
    with pytest.raises(TypeError):
        TobiasCollate(None, views, view=0.5)


def test_segments_look_at_16_bits_as_at_8():
    eight = of_mode("L", (64, 48))
    sixteen = Image.fromarray(np.asarray(eight).astype(np.uint16) * 257)
    segments = ForegroundSegments(RandomCNN("resnet18"))
    assert sixteen.mode == "I;16"
    assert torch.equal(segments(sixteen), segments(eight))
