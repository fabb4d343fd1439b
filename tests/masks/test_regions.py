import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.masks import bounding_box, box_iou, largest_component

masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def flood(mask):
    """Components by flooding from each pixel in reading order: sets of (row, column), 8 neighbors."""
    left = {(y, x) for y, row in enumerate(mask) for x, on in enumerate(row) if on}
    found = []
    for pixel in sorted(left):
        if pixel not in left:
            continue
        component, edge = set(), [pixel]
        while edge:
            y, x = edge.pop()
            if (y, x) in left:
                left.remove((y, x))
                component.add((y, x))
                edge += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        found.append(component)
    return found


@given(masks)
def test_largest_component_is_the_one_that_flooding_finds(mask):
    components = flood(mask)
    # max keeps the first of equals, which starts first in reading order.
    expected = max(components, key=len) if components else set()
    kept = largest_component(torch.from_numpy(mask))
    assert {tuple(pixel) for pixel in kept.nonzero().tolist()} == expected


@given(masks)
def test_box_is_the_smallest_around_all_pixels(mask):
    pixels = [(y, x) for y, row in enumerate(mask) for x, on in enumerate(row) if on]
    box = bounding_box(torch.from_numpy(mask))
    if not pixels:
        assert box == (0, 0, mask.shape[1], mask.shape[0])
    else:
        rows, columns = zip(*pixels, strict=True)
        assert box == (min(columns), min(rows), max(columns) + 1, max(rows) + 1)


sides = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted)
boxes = st.tuples(sides, sides).map(lambda s: (s[0][0], s[1][0], s[0][1], s[1][1]))


@given(boxes, boxes)
def test_iou_counts_pixels(first, second):
    def pixels(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    union = pixels(first) | pixels(second)
    expected = len(pixels(first) & pixels(second)) / len(union) if union else 0.0
    assert abs(box_iou(first, second) - expected) < 1e-12
