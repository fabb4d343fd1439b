import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from tobias_aug import MergedImages, MergedViews, MissingMaskError, build_masks
from tobias_aug.patch_merge import donor_cells, merge_images
from tobias_aug.patch_merge.views import as_table, make_views


def pixels(image):
    return np.asarray(image)


@pytest.fixture
def table(photos, tmp_path, brightness):
    return build_masks(photos, brightness, tmp_path / "masks", workers=0, quiet=True)


def blocks(image, grid=4):
    """Cells of an image as arrays, in reading order."""
    array = pixels(image)
    height, width = array.shape[:2]
    return [
        array[i * height // grid : (i + 1) * height // grid, j * width // grid : (j + 1) * width // grid]
        for i in range(grid)
        for j in range(grid)
    ]


def test_one_view_has_its_object_on_another_background(photos, table):
    data = MergedViews(photos, table, lambda image: image, p=1.0)
    images = {key: data.images.load(n) for n, key in enumerate(data.images.keys)}
    for n in range(len(data)):
        (changed, same), target = data[n]
        key = data.key(n)
        assert target == data.images.target(n)
        assert np.array_equal(pixels(same), pixels(images[key]))
        kept = table[key].flatten().tolist()
        mine, theirs = blocks(same), blocks(changed)
        assert all(np.array_equal(mine[c], theirs[c]) for c in range(16) if kept[c])
        slots = [theirs[c] for c in range(16) if not kept[c]]

        def fits(other, slots=slots, size=same.size):
            """All slots are found among the other image's background cells, brought to this image's size."""
            given = blocks(images[other].resize(size, Image.Resampling.BICUBIC))
            background = [given[c] for c in range(16) if not table[other].flatten()[c]]
            return all(any(s.shape == b.shape and np.array_equal(s, b) for b in background) for s in slots)

        if same.size[0] % 4 == same.size[1] % 4 == 0:
            assert sum(fits(other) for other in images) == 1


def test_the_published_variant_meets_at_224(photos):
    a, b = (Image.open(photos / "dog" / name).convert("RGB") for name in ("00.jpg", "10.jpg"))
    mask = torch.zeros(16).bool()
    mask[4:12] = True
    donors = donor_cells(mask.view(4, 4), mask.view(4, 4), torch.arange(8).flip(0))
    small_a, small_b = (pixels(image.resize((224, 224), Image.Resampling.BICUBIC)) for image in (a, b))
    expected = small_a.copy()
    background = [0, 1, 2, 3, 12, 13, 14, 15]
    for slot, donor in zip(background, background[::-1], strict=True):
        (i, j), (k, m) = divmod(slot, 4), divmod(donor, 4)
        expected[56 * i : 56 * i + 56, 56 * j : 56 * j + 56] = small_b[56 * k : 56 * k + 56, 56 * m : 56 * m + 56]
    merged = merge_images(a, b, donors, resolution=224)
    assert np.array_equal(pixels(merged), pixels(Image.fromarray(expected).resize(a.size, Image.Resampling.BICUBIC)))


def test_p_and_view_decide_what_is_changed(photos, table):
    never = MergedViews(photos, table, pixels, p=0.0)
    assert all(np.array_equal(*never[n][0]) for n in range(12))
    second = MergedViews(photos, table, pixels, p=1.0, view=1)
    original = ImageFolder(photos)
    (first, changed), _ = second[3]
    assert np.array_equal(first, pixels(original[3][0]))
    assert not np.array_equal(first, changed)
    half = MergedViews(photos, table, pixels, p=0.5, generator=torch.Generator().manual_seed(0))
    changed = sum(not np.array_equal(*half[n % 12][0]) for n in range(240))
    assert 90 < changed < 150


def test_a_dataset_keeps_what_follows_the_image(photos, table):
    data = MergedViews(ImageFolder(photos), table, pixels, p=1.0)
    for n in range(len(data)):
        assert data[n][1] == data.images[n][1]
    random = MergedViews(ImageFolder(photos), None, pixels, p=1.0)
    assert not np.array_equal(*random[0][0])


def test_backgrounds_come_from_the_whole_dataset():
    images = [(Image.new("RGB", (8, 8), (0, 0, n)), n) for n in range(200)]
    data = MergedViews(images, None, pixels, p=1.0, generator=torch.Generator().manual_seed(1))
    givers = [np.setdiff1d(data[7][0][0][..., 2], [7]) for _ in range(100)]
    givers = [int(giver[0]) for giver in givers if len(giver)]
    assert len(set(givers)) > 60
    assert max(givers) > 150
    assert min(givers) < 50


def test_a_missing_mask_raises_or_keeps_the_image(photos, table):
    (photos / "dog" / "00.jpg").rename(photos / "dog" / "new.jpg")
    data = MergedViews(photos, table, pixels, p=1.0)
    with pytest.raises(MissingMaskError, match="no mask for"):
        [data[n] for n in range(12)]
    kept = MergedViews(photos, table, pixels, p=1.0, missing="keep")
    new = list(kept.images.keys).index("dog/new.jpg")
    assert np.array_equal(*kept[new][0])


def test_options_and_samples_that_make_no_sense_are_rejected(photos, table):
    with pytest.raises(ValueError, match='missing must be "raise" or "keep", got \'drop\''):
        MergedViews(photos, table, pixels, missing="drop")
    with pytest.raises(ValueError, match="p is a probability"):
        MergedViews(photos, table, pixels, p=-1.0)
    with pytest.raises(
        TypeError, match="needs PIL images from the dataset, .*, got ndarray; give it the dataset without"
    ):
        MergedViews([(np.zeros((4, 4)), 0)], table, pixels)[0]


@pytest.mark.parametrize("view", [0, 1, 2])
def test_views_of_any_transform_are_made_from_the_right_image(view):
    own, new = Image.new("L", (1, 1), 1), Image.new("L", (1, 1), 2)

    def tag(name):
        return lambda image: (name, image.getpixel((0, 0)))

    separate = make_views([tag("a"), tag("b"), tag("c")], own, new, view)
    together = make_views(lambda image: [tag(name)(image) for name in "abc"], own, new, view)
    assert separate == together == [(name, 2 if n == view else 1) for n, name in enumerate("abc")]
    if view < 2:
        assert make_views(lambda image: image, own, new, view) == [[new, own], [own, new]][view]


def test_an_unchanged_image_is_transformed_once():
    calls = []
    own = Image.new("L", (1, 1))
    make_views(lambda image: calls.append(image) or [image, image], own, own, 0)
    assert calls == [own]


class Images(torch.utils.data.Dataset):
    """PIL images of one mode, the last of them tiny."""

    def __init__(self, mode, sizes):
        random = np.random.default_rng(0)
        rgb = [Image.fromarray(random.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)) for size in sizes]
        self.images = [image.convert(mode) for image in rgb]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], index


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "1", "YCbCr"])
@pytest.mark.parametrize("make", [MergedViews, MergedImages])
def test_changed_or_not_all_images_are_of_one_mode(mode, make):
    data = make(Images(mode, [(40, 32)] * 6), None, lambda image: image, p=0.5)
    samples = [data[n % 6][0] for n in range(40)]
    images = [image for sample in samples for image in (sample if isinstance(sample, list) else [sample])]
    assert {image.mode for image in images} == {mode}
    assert {image.size for image in images} == {(40, 32)}


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_kept_cells_keep_their_pixels_in_every_mode(mode):
    data = Images(mode, [(40, 32), (64, 64)])
    mask = torch.zeros(16, dtype=torch.bool)
    mask[:8] = True
    donors = donor_cells(mask.view(4, 4), mask.view(4, 4), torch.arange(8))
    merged = merge_images(data[0][0], data[1][0], donors)
    assert np.array_equal(pixels(merged)[:16], pixels(data[0][0])[:16])
    expected = pixels(data[1][0].resize((40, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(pixels(merged)[16:], expected[16:])


@pytest.mark.parametrize("size", [(2, 2), (1, 1), (2000, 1), (3, 50)])
@pytest.mark.parametrize("make", [MergedViews, MergedImages])
def test_an_image_of_fewer_pixels_than_cells_stays_as_it_is(size, make):
    data = make(Images("RGB", [size, (40, 32)]), None, pixels, p=1.0)
    for _ in range(5):
        sample = data[0][0]
        for seen in sample if isinstance(sample, list) else [sample]:
            assert np.array_equal(seen, pixels(data.images[0][0]))
        data[1]  # And serves as a donor.


@pytest.mark.parametrize(
    ("transform", "view", "text"),
    [
        ([pixels] * 2, 2, "0 to 1, got 2"),
        ([pixels] * 2, -1, "0 to 1, got -1"),
        (pixels, -1, "0 or more, got -1"),
    ],
)
def test_a_view_that_does_not_exist_is_rejected_at_once(transform, view, text):
    with pytest.raises(ValueError, match=f"the number of the view that is changed, {text}"):
        MergedViews(Images("RGB", [(8, 8)]), None, transform, view=view)


@pytest.mark.parametrize(("transform", "count"), [(pixels, 2), (lambda image: [pixels(image)] * 4, 4)])
def test_a_view_that_a_transform_does_not_make_is_rejected_at_the_first_sample(transform, count):
    data = MergedViews(Images("RGB", [(8, 8)]), None, transform, p=0.0, view=count)
    with pytest.raises(ValueError, match=f"makes {count} views of an image, numbered from 0, and view {count} is"):
        data[0]


def test_merged_images_are_the_merged_views_with_their_labels(photos, table):
    views = MergedViews(photos, table, pixels, p=1.0, generator=torch.Generator().manual_seed(0))
    images = MergedImages(photos, table, pixels, p=1.0, generator=torch.Generator().manual_seed(0))
    for n in range(4):
        (changed, _), target = views[n]
        image, label = images[n]
        assert np.array_equal(image, changed)
        assert label == target


@pytest.mark.parametrize("make", [MergedViews, MergedImages])
def test_masks_may_be_the_path_of_a_table(photos, table, make):
    for masks in (table.path, str(table.path)):
        first, second = (
            make(photos, each, pixels, p=1.0, generator=torch.Generator().manual_seed(0)) for each in (masks, table)
        )
        assert np.array_equal(first[3][0][0], second[3][0][0])


@pytest.mark.parametrize("make", [MergedViews, MergedImages])
def test_arguments_are_looked_at_before_the_first_sample(photos, table, make):
    with pytest.raises(ValueError, match="resolution must be at least 4 pixels, one per cell of a side, got 2"):
        make(photos, table, pixels, resolution=2)
    with pytest.raises(TypeError, match="masks must be a MaskTable, the path of one, or None for random .*, got dict"):
        as_table({"a.png": None})
    with pytest.raises(TypeError):
        MergedViews(photos, table, pixels, view=0.5)


def test_images_that_come_alone_give_views_alone():
    images = [Image.new("RGB", (8, 8), (n, 0, 0)) for n in range(3)]
    (views,) = MergedViews(images, None, pixels, p=0.0)[1]
    assert [view[0, 0, 0] for view in views] == [1, 1]
    with pytest.raises(TypeError, match="needs PIL images from the dataset, alone or first in a tuple, got dict"):
        MergedViews([{"image": images[0]}], None, pixels)[0]
