"""The gather of a whole batch agrees with the copies cell by cell, wherever it runs and however the batch lies."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors

from tobias_aug import PatchMerge, half_mask
from tobias_aug.patch_merge import draw_merge, fill_slots, merge_cells
from tobias_aug.patch_merge.kernels import line_numbers

DTYPES = [torch.uint8, torch.bool, torch.int64, torch.bfloat16, torch.float32, torch.float64, torch.complex128]


def draw(count, grid, seed, p=0.7):
    random = torch.Generator().manual_seed(seed)
    return draw_merge(half_mask(torch.rand(count, grid, grid, generator=random)), p, generator=random)


def copied(images, params):
    """Each image by itself, through the copies that tests/patch_merge/test_functional.py holds to the equation."""
    merged = images.clone(memory_format=torch.contiguous_format)
    fill_slots(merged, images.contiguous(), params["partner"], params["donors"])
    return merged


def laid_out(images, layout):
    if layout == "channels_last":
        return images.contiguous(memory_format=torch.channels_last)
    if layout == "shifted":  # Words of 8 bytes would start between the batch's own.
        memory = torch.zeros(images.numel() + 1, dtype=images.dtype)
        return memory[1:].view(images.shape).copy_(images)
    if layout == "sliced":
        return torch.nn.functional.pad(images.double(), (1, 2)).to(images.dtype)[..., 1:-2]
    return images


@st.composite
def batches(draw_one):
    grid = draw_one(st.integers(2, 5))
    sides = st.one_of(st.integers(grid, 17), st.integers(1, 5).map(lambda cells: cells * grid))
    shape = draw_one(st.integers(0, 4)), draw_one(st.integers(1, 3)), draw_one(sides), draw_one(sides)
    layout = draw_one(st.sampled_from(["contiguous", "channels_last", "shifted", "sliced"]))
    dtype = draw_one(st.sampled_from([torch.uint8, torch.bfloat16, torch.float32]))
    seed = draw_one(st.integers(0, 2**31))
    images = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 255).to(dtype)
    return laid_out(images, layout), draw(shape[0], grid, seed)


@given(batches())
def test_agrees_with_the_copies_for_any_grid_size_and_layout(batch):
    images, params = batch
    merged = merge_cells(images, images, params["partner"], params["donors"])
    assert torch.equal(merged, copied(images, params))
    assert merged.untyped_storage().data_ptr() != images.untyped_storage().data_ptr() or not images.numel()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "shifted"])
def test_keeps_dtype_and_layout_and_makes_what_is_asked_for(dtype, layout):
    images, params = laid_out((torch.rand(6, 3, 8, 20) * 255).to(dtype), layout), draw(6, 4, 0)
    own = torch.tensor([4, 1, 4])
    merged = merge_cells(images, images, params["partner"][own], params["donors"][own], own)
    assert merged.dtype == dtype
    assert merged.stride() == images.stride()
    assert torch.equal(merged, copied(images, params)[own])


def test_lines_are_counted_by_image_plane_row_and_column():
    """Two images of one plane, 2 × 2 pixels: the second takes its lower row from the first's upper one, crossed."""
    numbers = line_numbers(torch.tensor([1]), torch.tensor([0]), torch.tensor([[[-1, -1], [1, 0]]]), planes=1, height=2)
    assert numbers.tolist() == [4, 5, 1, 0]


def test_nothing_waits_for_a_value_of_the_device():
    """The meta device has shapes and no values, so that whatever looks at one raises."""
    masks = torch.zeros(8, 4, 4, dtype=torch.bool, device="meta")
    params = draw_merge(masks, 0.5)
    assert params["donors"].shape == (8, 4, 4)
    for layout in (torch.contiguous_format, torch.channels_last):
        images = torch.empty(8, 3, 64, 64, device="meta").contiguous(memory_format=layout)
        for inplace in (False, True):
            merged = PatchMerge(p=0.5, inplace=inplace)(images, masks)
            assert merged.stride() == images.stride()
            assert (merged is images) == inplace


@pytest.mark.parametrize("size", [(16, 24), (17, 23)], ids=["even", "uneven"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_in_place_writes_the_same_into_the_same_memory(size, layout, p):
    images = laid_out(torch.rand(9, 3, *size), layout)
    cells = half_mask(torch.rand(9, 4, 4))
    merge = PatchMerge(p)
    params = merge.make_params(images, cells)
    expected = merge.apply(images, params)
    result = PatchMerge(p, inplace=True).apply(images, params)
    assert result is images
    assert torch.equal(images, expected)


def test_in_place_carries_masks_and_keeps_classes():
    pixels = torch.randint(0, 256, (6, 1, 12, 18), dtype=torch.uint8)
    image, mask = tv_tensors.Image(pixels), tv_tensors.Mask(pixels[:, 0].clone())
    merged = PatchMerge(p=1.0, inplace=True)({"image": image, "mask": mask}, half_mask(torch.rand(6, 4, 4)))
    assert type(merged["image"]) is tv_tensors.Image
    assert merged["image"].data_ptr() == image.data_ptr()
    assert merged["mask"].data_ptr() == mask.data_ptr()
    assert torch.equal(image[:, 0].as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor))


def test_in_place_rejects_images_that_share_memory_with_each_other():
    shared = torch.rand(1, 3, 8, 8).expand(4, 3, 8, 8)
    with pytest.raises(ValueError, match="share memory cannot be merged in place; clone the batch"):
        PatchMerge(p=1.0, inplace=True)(shared, half_mask(torch.rand(4, 4, 4)))


def test_masks_made_on_demand_are_made_for_those_that_take_part_alone():
    images, scores = torch.rand(32, 3, 16, 16), torch.rand(32, 4, 4)
    asked = []

    def make(some):
        numbers = [next(n for n in range(32) if torch.equal(images[n], one)) for one in some]
        asked.append(numbers)
        return half_mask(scores[numbers])

    options = {"p": 0.2}
    first = PatchMerge(**options, generator=torch.Generator().manual_seed(3))
    params = first.make_params(images, half_mask(scores))
    on_demand = PatchMerge(**options, generator=torch.Generator().manual_seed(3)).make_params(images, make)
    assert torch.equal(on_demand["donors"], params["donors"])
    changed = params["changed"].nonzero()[:, 0].tolist()
    assert asked == [sorted({*changed, *params["partner"][changed].tolist()})]
    assert PatchMerge(p=0.0).make_params(images, make)["donors"].eq(-1).all()
    assert len(asked) == 1


def test_masks_made_on_demand_are_checked():
    with pytest.raises(ValueError, match=r"needs masks of shape \(2, 4, 4\) for 2 images, got \(2, 3, 3\)"):
        PatchMerge(p=1.0)(torch.rand(2, 3, 8, 8), lambda images: torch.ones(len(images), 3, 3).bool())


@pytest.fixture
def never_waiting():
    """Raise where the host waits for the GPU."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_gpu_merges_the_same_without_a_wait(request, device, inplace):
    """With the masks on the host, and with the masks on the GPU."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    images, cells = torch.rand(8, 3, 64, 64), half_mask(torch.rand(8, 4, 4))
    expected = PatchMerge(0.7, generator=torch.Generator().manual_seed(1))(images, cells)
    on_gpu, cells = images.cuda(), cells.to(device)
    request.getfixturevalue("never_waiting")
    merged = PatchMerge(0.7, generator=torch.Generator().manual_seed(1), inplace=inplace)(on_gpu, cells)
    torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(merged.cpu(), expected)
