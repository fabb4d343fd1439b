"""Losses and penalties by closed forms; DiffAugment by what it must leave as it is."""

import pytest
import torch
from torch import nn

from tobias_aug.gan import DiffAugment, discriminator_loss, generator_loss, orthogonal_penalty, r1_penalty
from tobias_aug.training.layers import convolution


def test_the_non_saturating_loss_is_binary_cross_entropy_of_the_sigmoid():
    real, fake = torch.tensor([0.3, -1.0]), torch.tensor([2.0, 0.1])
    entropy = nn.BCELoss()
    expected = entropy(real.sigmoid(), torch.ones(2)) + entropy(fake.sigmoid(), torch.zeros(2))
    torch.testing.assert_close(discriminator_loss(real, fake), expected)
    torch.testing.assert_close(generator_loss(fake), entropy(fake.sigmoid(), torch.ones(2)))


def test_the_hinge_stops_at_the_margin():
    far, near = torch.tensor([5.0, 2.0]), torch.tensor([0.5, 0.5])
    assert discriminator_loss(far, -far, "hinge") == 0
    assert discriminator_loss(near, -near, "hinge") == 1
    assert generator_loss(near, "hinge") == -0.5


def test_unknown_losses_are_rejected():
    with pytest.raises(ValueError, match="loss must be non-saturating or hinge, got 'wgan'"):
        generator_loss(torch.zeros(1), "wgan")


def test_r1_is_half_the_squared_gradient_of_each_image():
    images = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    torch.testing.assert_close(r1_penalty((images**2).sum(1), images), (2 * images).square().sum(1).mean() / 2)


@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.ConvTranspose2d(5, 3, 2), convolution(4, 3)])
def test_the_orthogonal_penaltys_gradient_is_biggans(layer):
    """BigGAN adds 2 (W W^T * (1 - I)) W to the gradient, with a row per output channel."""
    from tobias_aug.training.layers import weight_of

    weight = weight_of(layer)
    (gradient,) = torch.autograd.grad(orthogonal_penalty(layer), weight)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    rows = (weight.transpose(0, 1) if transposed else weight).flatten(1)
    expected = 2 * (rows @ rows.T * (1 - torch.eye(3))) @ rows
    found = (gradient.transpose(0, 1) if transposed else gradient).flatten(1)
    torch.testing.assert_close(found, expected)


def images(size=16):
    return torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", "cutout,color,translation"])
def test_the_same_draw_changes_images_alike_and_lets_gradients_through(policy):
    augment, given = DiffAugment(policy), images().requires_grad_()
    params = augment.make_params(4, 16, torch.Generator().manual_seed(1))
    one, other = augment.apply(given, params), augment.apply(given, params)
    assert torch.equal(one, other)
    assert one.shape == given.shape
    assert not torch.equal(one, given)
    (gradient,) = torch.autograd.grad(one.square().sum(), given)
    assert gradient.isfinite().all()
    assert gradient.any()


def test_an_empty_policy_changes_nothing():
    augment, given = DiffAugment(""), images()
    assert augment.apply(given, augment.make_params(4, 16, torch.Generator())) is given


def test_translation_moves_by_an_eighth_at_most_and_fills_with_gray():
    augment, given = DiffAugment("translation"), images()
    params = {"translation": torch.tensor([[0, 2, -2, 1], [0, -2, 2, 0]])}
    moved = augment.apply(given, params)
    assert torch.equal(moved[0], given[0])
    assert torch.equal(moved[1, :, 2:, :-2], given[1, :, :-2, 2:])
    assert not moved[1, :, :2].any()
    assert not moved[1, :, :, -2:].any()
    drawn = augment.make_params(500, 16, torch.Generator().manual_seed(0))["translation"]
    assert (drawn.min(), drawn.max()) == (-2, 2)


def test_cutout_blanks_a_square_of_half_the_side():
    augment, given = DiffAugment("cutout"), images()
    cut = augment.apply(given, {"cutout": torch.full((2, 4), 8)})
    assert not cut[:, :, 4:12, 4:12].any()
    assert torch.equal(cut[:, :, :4], given[:, :, :4])
    assert torch.equal(cut[:, :, :, 12:], given[:, :, :, 12:])


def test_color_keeps_gray_images_gray():
    augment, gray = DiffAugment("color"), images()[:, :1].expand(-1, 3, -1, -1)
    changed = augment.apply(gray, augment.make_params(4, 16, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(changed[:, 0], changed[:, 2])


def test_unit_color_factors_change_nothing():
    given = images()
    params = {"color": torch.tensor([[0.0], [1.0], [1.0]]).expand(3, 4)}
    torch.testing.assert_close(DiffAugment("color").apply(given, params), given)
