import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug import half_mask, merge_patches
from tobias_aug.masks import cell_edges
from tobias_aug.patch_merge import donor_cells, draw_merge, draw_order
from tobias_aug.patch_merge.kernels import _gather_pixels

DTYPES = [torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool]


def reference(a, b, mask_a, mask_b, order):
    """Equation 3, cell by cell and pixel by pixel, for one image of shape (height, width)."""
    grid, (height, width) = len(mask_a), a.shape
    rows = [i * height // grid for i in range(grid + 1)]
    columns = [j * width // grid for j in range(grid + 1)]
    slots = [(i, j) for i in range(grid) for j in range(grid) if not mask_a[i][j]]
    donors = [(i, j) for i in range(grid) for j in range(grid) if not mask_b[i][j]]
    merged = [list(row) for row in a.tolist()]
    for (i, j), donor in zip(slots, order, strict=True):
        k, m = donors[donor]
        for y in range(rows[i + 1] - rows[i]):
            for x in range(columns[j + 1] - columns[j]):
                from_y = min(rows[k], height - (rows[i + 1] - rows[i])) + y
                from_x = min(columns[m], width - (columns[j + 1] - columns[j])) + x
                merged[rows[i] + y][columns[j] + x] = b[from_y][from_x].item()
    return merged


@st.composite
def merges(draw):
    grid = draw(st.integers(2, 5))
    height, width = draw(st.integers(grid, 17)), draw(st.integers(grid, 17))
    seed = draw(st.integers(0, 2**31))
    random = torch.Generator().manual_seed(seed)
    a, b = torch.randint(0, 1000, (2, height, width), generator=random)
    mask_a, mask_b = half_mask(torch.rand(2, grid, grid, generator=random))
    return a, b, mask_a, mask_b, draw_order(mask_a, random)


@given(merges())
def test_agrees_with_the_equation_for_any_grid_and_size(merge):
    a, b, mask_a, mask_b, order = merge
    expected = reference(a, b, mask_a.tolist(), mask_b.tolist(), order.tolist())
    assert merge_patches(a, b, mask_a, mask_b, order).tolist() == expected


@given(merges())
def test_the_gather_of_other_devices_agrees_with_the_copies_of_the_cpu(merge):
    a, b, mask_a, mask_b, order = merge
    gathered = a.clone()[None, None]
    edges = [cell_edges(side, len(mask_a)) for side in a.shape]
    _gather_pixels(gathered, b[None, None], torch.tensor([0]), donor_cells(mask_a, mask_b, order)[None], *edges)
    assert torch.equal(gathered[0, 0], merge_patches(a, b, mask_a, mask_b, order))


@given(merges())
def test_slots_hold_a_permutation_of_the_others_background(merge):
    _, _, mask_a, mask_b, order = merge
    donors = donor_cells(mask_a, mask_b, order)
    assert (donors[mask_a] == -1).all()
    assert sorted(donors[~mask_a].tolist()) == (~mask_b).flatten().nonzero()[:, 0].tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_keeps_dtype_and_layout_and_leaves_its_inputs_alone(dtype, layout):
    a, b = (torch.rand(2, 3, 3, 8, 10) * 200).to(dtype)
    if layout == "channels_last":
        a, b = a.contiguous(memory_format=torch.channels_last), b.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        a, b = (torch.rand(2, 3, 5, 9, 12) * 200).to(dtype)[:, :, 1:4, 1:, 2:]
    masks = half_mask(torch.rand(2, 3, 4, 4))
    before = a.clone(), b.clone()
    order = draw_order(masks[0])
    merged = merge_patches(a, b, *masks, order)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])
    assert merged.dtype == dtype
    assert merged.data_ptr() != a.data_ptr()
    if layout != "sliced":
        assert merged.stride() == a.stride()
    for n in range(3):
        for channel in range(3):
            one = (a[n, channel], b[n, channel], masks[0][n], masks[1][n])
            assert torch.equal(merged[n, channel], merge_patches(*one, order[n]))


def test_leading_and_inner_dimensions_move_as_one():
    video, other = torch.rand(2, 2, 4, 3, 9, 8)
    masks = half_mask(torch.rand(2, 2, 4, 4))
    order = draw_order(masks[0])
    merged = merge_patches(video, other, *masks, order)
    assert torch.equal(merged[1, 2], merge_patches(video[1, 2], other[1, 2], masks[0][1], masks[1][1], order[1]))
    assert merge_patches(video[:0], other[:0], masks[0][:0], masks[1][:0]).shape == (0, 4, 3, 9, 8)


def test_gradients_go_where_the_pixels_came_from():
    a, b = torch.rand(2, 1, 1, 8, 8, dtype=torch.float64)
    masks = half_mask(torch.rand(2, 1, 4, 4))
    order = draw_order(masks[0])
    a.requires_grad_()
    b.requires_grad_()
    merged = merge_patches(a, b, *masks, order)
    assert torch.equal(merged, merge_patches(a.detach(), b.detach(), *masks, order))
    merged.sum().backward()
    assert a.grad.sum() == b.grad.sum() == 32
    assert a.grad.view(4, 2, 4, 2).sum((1, 3)).eq(4).equal(masks[0][0])


def test_a_generator_decides_the_order():
    a, b = torch.rand(2, 5, 3, 16, 16)
    masks = half_mask(torch.rand(2, 5, 4, 4))
    first, again, other = (
        merge_patches(a, b, *masks, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_order_and_every_partner_is_drawn_equally_often():
    masks = half_mask(torch.rand(4, 4, 4))
    drawn = [draw_merge(masks, 0.3) for _ in range(4000)]
    changed = torch.stack([params["changed"] for params in drawn]).float()
    partner = torch.stack([params["partner"] for params in drawn])
    # Standard error of a share of 16000 draws is below .004; six of them are allowed.
    assert abs(changed.mean() - 0.3) < 0.022
    assert all(abs((partner == n).float().mean() - 0.25) < 0.021 for n in range(4))
    first = torch.stack([draw_order(masks)[:, 0] for _ in range(4000)])
    assert all(abs((first == n).float().mean() - 0.125) < 0.016 for n in range(8))


HALF = half_mask(torch.arange(16.0).view(4, 4))
IMAGE = torch.zeros(3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGE, IMAGE[:, :4], HALF, HALF), r"one shape and dtype, got \(3, 8, 8\) .* resize the background first"),
        ((IMAGE, IMAGE.half(), HALF, HALF), "one shape and dtype"),
        ((IMAGE, IMAGE, HALF[None], HALF[None]), r"the masks' leading dimensions must be the images'"),
        (
            (IMAGE, IMAGE, HALF, torch.ones(4, 4).bool()),
            "equally many foreground cells in every mask, got 8 to 16; make",
        ),
        ((IMAGE, IMAGE, HALF, HALF, torch.zeros(8).long()), r"order must hold a permutation of 0 \.\. 7"),
        ((IMAGE, IMAGE, HALF, HALF, torch.arange(7)), r"order must hold a permutation of 0 \.\. 7"),
        ((IMAGE[:, :3], IMAGE[:, :3], HALF, HALF), "a side of 3 pixels cannot be cut into 4 cells"),
    ],
)
def test_what_does_not_fit_is_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        merge_patches(*arguments)
