import numpy as np
import pytest
from PIL import Image

from tobias_aug.class_maps import ClassMaps, NamedImages
from tobias_aug.errors import ImageError
from tobias_aug.refine import crf_labels, crf_probabilities, refine_class_maps, refine_labels, refined_index_mask


def test_images_are_found_by_path_or_by_name(photos):
    Image.new("RGB", (5, 4)).save(photos / "dog" / "01.jpg")
    named = NamedImages(str(photos), ["cat/01", "dog/01", "03", "elsewhere/03", "99"])
    assert named.path("cat/01") == photos / "cat" / "01.jpg"
    assert named.size("dog/01") == (4, 5)
    assert named.path("03") == named.path("elsewhere/03") == photos / "cat" / "03.jpg"
    with pytest.raises(FileNotFoundError, match="no image of this name in"):
        named.path("99")


@pytest.mark.parametrize("name", ["01", "elsewhere/01"])
def test_a_name_that_means_two_images_is_rejected_at_once(photos, name):
    Image.new("RGB", (5, 4)).save(photos / "dog" / "01.jpg")
    with pytest.raises(ImageError, match=r"01.jpg and .*01.jpg have the same name; masks are matched by name, rename"):
        NamedImages(photos, [name])
    Image.new("RGB", (5, 4)).save(photos / "dog" / "01.png")
    with pytest.raises(ImageError, match=r"dog/01.jpg and .*dog/01.png have the same name; masks are matched by name"):
        NamedImages(photos, ["dog/01"])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_image(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (7, 4)).save(tmp_path / "a.jpg", exif=exif)
    named = NamedImages(tmp_path, ["a"])
    assert named.size("a") == named.read("a").shape[:2]


NOT_RGB = {
    "gray": np.zeros((4, 6), np.uint8),
    "gray in a channel": np.zeros((4, 6, 1), np.uint8),
    "with alpha": np.zeros((4, 6, 4), np.uint8),
    "float": np.zeros((4, 6, 3), np.float32),
    "channels first": np.zeros((3, 4, 6), np.uint8),
}


@pytest.mark.parametrize("kind", NOT_RGB)
def test_refinements_say_which_image_they_take(kind):
    image, maps = NOT_RGB[kind], ClassMaps(np.array([1]), np.zeros((1, 4, 6), np.float32))
    labels = np.zeros((4, 6), np.int64)
    for refine in (
        lambda: refine_class_maps(maps, image),
        lambda: refine_class_maps(maps, image, "crf"),
        lambda: refine_labels(labels, image, 2),
        lambda: refined_index_mask(maps, image),
        lambda: crf_labels(labels, image, 2),
        lambda: crf_probabilities(np.full((2, 4, 6), 0.5, np.float32), image),
    ):
        with pytest.raises(ValueError, match="expected an RGB image, uint8 .height, width, 3. from 0 to 255, got"):
            refine()
