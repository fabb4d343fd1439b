import numpy as np
import pytest
import torch

from tobias_aug.irn import affinity_losses, directions
from tobias_aug.irn.affinity import affinity


def pairs_by_definition(rows, columns, radius):
    """All pairs nearer than the radius, the second below the first or to its right, with the pixels on their path."""
    pixels = list(np.ndindex(rows, columns))
    for y, x in pixels:
        for v, u in pixels:
            length = np.hypot(v - y, u - x)
            if 0 < length < radius and (v > y or (v == y and u > x)):
                box = [(row, column) for row in range(y, v + 1) for column in range(min(x, u), max(x, u) + 1)]
                path = [
                    (row, column)
                    for row, column in box
                    if abs((v - y) * (column - x) - (u - x) * (row - y)) / length < 1 - 1e-12
                ]
                yield (y, x), (v, u), path


def losses_by_definition(logits, displacements, labels, radius):
    edges = 1 / (1 + np.exp(-logits))
    found = {"background": [], "object": [], "different": [], "offset": [], "still": []}
    for number in range(len(labels)):
        for first, second, path in pairs_by_definition(*labels.shape[1:], radius):
            one, other = labels[(number, *first)], labels[(number, *second)]
            if 255 in (one, other):
                continue
            near = 1 - max(edges[(number, *pixel)] for pixel in path)
            moved = displacements[(number, slice(None), *first)] - displacements[(number, slice(None), *second)]
            if one != other:
                found["different"].append(-np.log(1 + 1e-5 - near))
            elif one == 0:
                found["background"].append(-np.log(near + 1e-5))
                found["still"].append(np.abs(moved).mean())
            else:
                found["object"].append(-np.log(near + 1e-5))
                found["offset"].append(np.abs(moved - (np.array(second) - np.array(first))).mean())
    means = {name: np.mean(values) if values else 0.0 for name, values in found.items()}
    parts = {
        "positive": (means["background"] + means["object"]) / 2,
        "negative": means["different"],
        "displacement": means["offset"],
        "background": means["still"],
    }
    return {"loss": sum(parts.values()) / 2, **parts}


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    labels = random.choice([0, 0, 3, 3, 20, 255], (2, 7, 8))
    return random.normal(size=(2, 7, 8)), random.normal(size=(2, 2, 7, 8)), labels


@pytest.mark.parametrize("radius", [2, 4, 10])
def test_the_losses_are_the_definition(batch, radius):
    logits, displacements, labels = batch
    expected = losses_by_definition(logits, displacements, labels, radius)
    found = affinity_losses(
        torch.from_numpy(logits).float(), torch.from_numpy(displacements).float(), torch.from_numpy(labels), radius
    )
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=2e-5), name


def test_the_number_of_directions_is_irns():
    assert [len(directions(radius)) for radius in (1, 2, 5, 10)] == [0, 4, 34, 152]
    assert {(each.down, each.right) for each in directions(2)} == {(0, 1), (1, -1), (1, 0), (1, 1)}


def test_perfect_displacements_cost_nothing():
    """Everything of a class points at one position, and the background does not move."""
    labels = torch.zeros(1, 9, 9, dtype=torch.uint8)
    labels[:, 2:7, 1:6] = 7
    pixels = torch.stack(torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij"))
    towards = torch.where(labels > 0, torch.tensor([4.0, 3.0]).view(2, 1, 1) - pixels, 0)[None]
    losses = affinity_losses(torch.zeros(1, 9, 9), towards, labels, 5)
    assert float(losses["displacement"]) == float(losses["background"]) == 0
    assert float(affinity_losses(torch.zeros(1, 9, 9), towards + 1, labels, 5)["displacement"]) == 0


def test_the_gradient_is_that_of_the_maximum():
    edges = torch.rand(2, 6, 7, dtype=torch.float64, requires_grad=True)
    for direction in directions(4):
        expected = 1 - torch.stack(list(direction.along_path(edges))).amax(0)
        found = affinity(edges, direction)
        assert torch.equal(found, expected)
        assert torch.equal(affinity(edges.detach(), direction), expected)
        if found.numel():
            weights = torch.rand_like(found)
            (mine,) = torch.autograd.grad((found * weights).sum(), edges)
            (theirs,) = torch.autograd.grad((expected * weights).sum(), edges)
            torch.testing.assert_close(mine, theirs)


def test_images_without_pairs_have_no_loss_and_finite_gradients():
    logits = torch.zeros(1, 4, 4, requires_grad=True)
    displacements = torch.zeros(1, 2, 4, 4, requires_grad=True)
    losses = affinity_losses(logits, displacements, torch.full((1, 4, 4), 255), 5)
    losses["loss"].backward()
    assert float(losses["loss"]) == 0
    assert not logits.grad.any()
    assert not displacements.grad.any()


def test_labels_of_another_size_are_rejected():
    with pytest.raises(ValueError, match=r"labels \(1, 8, 8\) must be of the edges' size \(1, 4, 4\)"):
        affinity_losses(torch.zeros(1, 4, 4), torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 8, dtype=torch.uint8))
