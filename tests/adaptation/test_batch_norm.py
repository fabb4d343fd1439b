import pytest
import torch
from torch import nn

from tobias_aug.adaptation import adapt_batch_norm


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2), nn.BatchNorm1d(2)).double()


def test_statistics_are_the_means_over_the_batches():
    net, batches = model(), 5 + torch.randn(6, 20, 4, dtype=torch.float64)
    adapt_batch_norm(net, batches)
    raw = [net[0](batch) for batch in batches]
    means, variances = torch.stack([one.mean(0) for one in raw]), torch.stack([one.var(0) for one in raw])
    torch.testing.assert_close(net[1].running_mean, means.mean(0))
    torch.testing.assert_close(net[1].running_var, variances.mean(0))
    normal = [(one - one.mean(0)) / (one.var(0, unbiased=False) + net[1].eps).sqrt() for one in raw]
    second = [net[3](one) for one in normal]  # No dropout between the two.
    torch.testing.assert_close(net[4].running_mean, torch.stack([one.mean(0) for one in second]).mean(0))


@pytest.mark.parametrize("training", [True, False])
def test_weights_modes_and_momenta_stay(training):
    net = model().train(training)
    net[1].momentum, net[3].training = 0.25, not training
    weights = [parameter.clone() for parameter in net.parameters()]
    adapt_batch_norm(net, torch.randn(2, 20, 4, dtype=torch.float64))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(net.parameters(), weights, strict=True))
    assert [part.training for part in net] == [training] * 3 + [not training] + [training]
    assert (net[1].momentum, net[4].momentum) == (0.25, 0.1)


def test_without_a_batch_or_a_norm_nothing_changes_and_the_error_says_why():
    net = model()
    net(torch.randn(20, 4, dtype=torch.float64))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="expected batches of target images, got none"):
        adapt_batch_norm(net, [])
    with pytest.raises(RuntimeError):
        adapt_batch_norm(net, [torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 5, dtype=torch.float64)])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with pytest.raises(ValueError, match="no batch normalization with running statistics"):
        adapt_batch_norm(nn.Linear(2, 2), [torch.rand(3, 2)])


def test_a_loader_of_images_and_labels_gives_its_images():
    images = 5 + torch.randn(6, 20, 4, dtype=torch.float64)
    plain, labeled = model(), model()
    adapt_batch_norm(plain, images)
    adapt_batch_norm(labeled, [[batch, torch.zeros(20)] for batch in images])
    assert all(torch.equal(value, labeled.state_dict()[name]) for name, value in plain.state_dict().items())


def test_batches_that_no_statistics_come_from_are_named():
    with pytest.raises(ValueError, match="a batch of one sample has no variance; leave the last, smaller batch out"):
        adapt_batch_norm(model(), torch.randn(21, 4, dtype=torch.float64).split(20))
    with pytest.raises(TypeError, match="expected batches of target images as tensors, got a dict"):
        adapt_batch_norm(model(), [{"image": torch.zeros(3, 4)}])
