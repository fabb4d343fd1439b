import numpy as np
import pytest

from benchmarks.refinement import coarse_maps, read_samples, rows_of, scored
from tobias_aug.class_maps import index_mask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sample():
    """A bright square of class 14 on dark ground, with a band that is not judged."""
    truth = np.zeros((96, 128), np.uint8)
    truth[32:64, 32:80] = 15
    truth[:4] = 255
    image = np.full((96, 128, 3), 30, np.uint8)
    image[truth == 15] = (220, 180, 60)
    return image, truth, coarse_maps(truth)


def test_maps_are_the_classes_in_cells_moved_down_and_to_the_right(sample):
    _, truth, maps = sample
    assert maps.keys.tolist() == [14]
    assert (maps.maps.min(), maps.maps.max()) == (0, 1)
    rows, columns = np.nonzero(truth == 15)
    moved = np.argwhere(maps.maps[0] > 0.5).mean(0)
    assert moved == pytest.approx([rows.mean() + 8, columns.mean() + 8], abs=1)
    unmoved = coarse_maps(truth, shift=0)
    assert (np.roll(unmoved.maps, (8, 8), (1, 2)) == maps.maps).all()
    assert (coarse_maps(truth, cell=1, shift=0).maps[0] == (truth == 15)).all()


def test_a_perfect_prediction_scores_100_and_none_scores_its_background(sample):
    _, truth, _ = sample
    iou, seconds = scored([sample], lambda image, maps: truth)
    assert iou == 100
    assert seconds >= 0
    judged = truth[truth != 255]
    nothing, _ = scored([sample], lambda image, maps: np.zeros_like(truth))
    assert nothing == pytest.approx(100 * (judged == 0).mean() / 2)


def test_every_refinement_has_its_score_beside_the_unrefined_one(sample):
    rows = {row.name: row for row in rows_of([sample])}
    plain = rows["no refinement: mean IoU"]
    assert plain.value == max(
        scored([sample], lambda _, maps, at=at: index_mask(maps, at))[0] for at in (0.2, 0.3, 0.4, 0.5)
    )
    for name in ("PAMR on maps", "PAMR on labels"):
        assert rows[f"{name}: mean IoU"].reference == plain.value
        assert rows[f"{name}: mean IoU"].value > plain.value
        assert rows[f"{name}: CPU time"].value > 0
    assert {"IRN, edges of a ResNet-50: CPU time", "IRN, random walk: CPU time"} <= set(rows)


def test_every_third_image_of_voc_is_read(real_data):
    samples = read_samples(real_data / "voc60", 3)
    assert len(samples) == 20
    assert all(image.shape[:2] == truth.shape == maps.size for image, truth, maps in samples)
