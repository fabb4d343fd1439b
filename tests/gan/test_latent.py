"""LOGAN's step against autograd and finite differences, the second-order term included."""

import pytest
import torch

from tobias_aug.gan import latent_mask, natural_step, optimized_latent, step_penalty

ALPHA, BETA = 0.9, 0.5


def quadratic(batch=3, size=4):
    """Return ``score(z) = -(z - c)' A (z - c) / 2`` with its parts, in float64."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64) * 0.4
    center = torch.randn(size, generator=generator, dtype=torch.float64) * 0.3
    z = torch.rand(batch, size, generator=generator, dtype=torch.float64) - 0.5
    return root @ root.T, center, z


def score_of(matrix, center):
    return lambda z: -(((z - center) @ matrix) * (z - center)).sum(1) / 2


def test_the_step_on_a_quadratic_is_the_formula():
    matrix, center, z = quadratic()
    moved, step = optimized_latent(score_of(matrix, center), z, alpha=ALPHA, beta=BETA, clip=(-9.0, 9.0))
    for index in range(len(z)):
        gradient = -(z[index] - center) @ matrix
        expected = ALPHA / (BETA + gradient.norm() ** 2) * gradient
        torch.testing.assert_close(step[index].double(), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(moved[index], z[index] + step[index])


def test_each_sample_has_its_own_norm():
    gradient = torch.tensor([[1.0, 0.0], [0.0, 100.0]])
    both = natural_step(gradient, ALPHA, BETA)
    assert torch.equal(both[:1], natural_step(gradient[:1], ALPHA, BETA))


def loss_at(matrix, center, z, second_order=True):
    """What a player descends: the score at the improved noise, and the penalty on the step."""
    score = score_of(matrix, center)
    moved, step = optimized_latent(score, z, alpha=ALPHA, beta=BETA, clip=(-9.0, 9.0), second_order=second_order)
    return -score(moved).mean() + 0.1 * step_penalty(step)


def test_the_gradient_flows_through_the_step_as_finite_differences_say():
    matrix, center, z = quadratic()
    center.requires_grad_()
    (gradient,) = torch.autograd.grad(loss_at(matrix, center, z), center)
    expected = torch.empty_like(center)
    for index in range(len(center)):
        shift = torch.zeros_like(center)
        shift[index] = 1e-4
        above, below = (loss_at(matrix, center.detach() + sign * shift, z).item() for sign in (1, -1))
        expected[index] = (above - below) / 2e-4
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)


def test_the_second_order_term_is_what_the_formula_says():
    """The score -(z - c)^2 / 2 has g = c - z, so that d dz / dc = alpha (beta - g^2) / (beta + g^2)^2."""
    z = torch.tensor([[0.2], [-0.4]], dtype=torch.float64)
    center = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    _, step = optimized_latent(lambda z: -((z - center) ** 2)[:, 0] / 2, z, alpha=ALPHA, beta=BETA)
    (slope,) = torch.autograd.grad(step.sum(), center)
    g = (center - z).detach()
    torch.testing.assert_close(slope, (ALPHA * (BETA - g**2) / (BETA + g**2) ** 2).sum(), atol=1e-6, rtol=1e-5)


def test_without_second_order_the_step_is_a_constant():
    matrix, center, z = quadratic()
    center.requires_grad_()
    _, step = optimized_latent(score_of(matrix, center), z, second_order=False)
    assert not step.requires_grad
    first, both = (torch.autograd.grad(loss_at(matrix, center, z, order), center)[0] for order in (False, True))
    assert not torch.allclose(first, both, rtol=1e-2)


def test_noise_is_clipped_to_its_range_and_the_penalty_is_of_the_whole_step():
    moved, step = optimized_latent(lambda z: z.sum(1), torch.full((1, 3), 0.9), alpha=3.0, beta=0.1)
    assert moved.tolist() == [[1.0, 1.0, 1.0]]
    assert step.min() > 0.1


def test_masked_elements_stay_and_do_not_count_in_the_norm():
    mask = torch.tensor([[True, False, False]])
    moved, step = optimized_latent(lambda z: (z * torch.tensor([1.0, 50.0, 9.0])).sum(1), torch.zeros(1, 3), mask=mask)
    assert moved[0, 1:].tolist() == [0, 0]
    torch.testing.assert_close(step[0, :1], natural_step(torch.ones(1, 1))[0])


def test_a_share_of_the_elements_is_drawn_one_by_one_or_sample_by_sample():
    draws = {
        by: latent_mask(400, 50, 0.8, torch.Generator().manual_seed(0), by).float() for by in ("element", "sample")
    }
    for mask in draws.values():
        assert abs(mask.mean() - 0.8) < 0.05
    assert ((draws["element"].mean(1) > 0) & (draws["element"].mean(1) < 1)).all()
    assert set(draws["sample"].mean(1).tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match="by must be element or sample, got 'batch'"):
        latent_mask(1, 1, 0.5, torch.Generator(), "batch")


def test_the_step_is_never_longer_than_the_bound():
    gradients = torch.randn(100, 5, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 100)[:, None]
    assert natural_step(gradients, ALPHA, BETA).norm(dim=1).max() <= ALPHA / (2 * BETA**0.5) + 1e-6
