"""What decides which objects become cut-outs, and how they look."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tobias_aug.cutouts.objects import GREEN, Color, Measures

BACKGROUNDS: dict[str, Color | None] = {"transparent": None, "green": GREEN, "white": (255, 255, 255)}


@dataclass(frozen=True)
class CutoutOptions:
    """Options of :func:`~tobias_aug.cutouts.extract_cutouts`.

    Attributes:
        classes: names of the classes to take. Default: all.
        background: "transparent", "green" (51, 255, 51), "white", or a color such as "255,0,128".
        margin: around the object's box, as a share of its width and height.
        min_side: least width and height of the object in pixels.
        min_area: least number of its pixels.
        truncated: take objects that touch the border of their image.
        max_occlusion: greatest share of the object's box that other objects may cover.
        min_largest_part: least share of its pixels in one piece.
        size: side of the square that each cut-out is fitted into. Default: its own size.
        agreement: least overlap (IoU) of the mask with what a localizer finds. Default: no localizer is asked.
        localizer: which one, by name; it also finds the object inside a box where ``refine`` is on.
        refine: the object inside each mask is what the localizer finds there; for masks that are boxes.
        sure: score above which the detector's detections count, where there is a detector.

    Raises:
        ValueError: naming the option that is out of its range.
    """

    classes: tuple[str, ...] | None = None
    background: str = "transparent"
    margin: float = 0.0
    min_side: int = 16
    min_area: int = 256
    truncated: bool = False
    max_occlusion: float = 0.3
    min_largest_part: float = 0.8
    size: int | None = None
    agreement: float | None = None
    localizer: str = "border-contrast"
    refine: bool = False
    sure: float = 0.9

    def __post_init__(self) -> None:
        self.color()
        for name in ("max_occlusion", "min_largest_part", "agreement", "sure"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is a share in [0, 1], got {value}")
        if not 0 <= self.margin < float("inf"):
            raise ValueError(f"margin is a share of the box's sides from 0 on, got {self.margin}")
        for name in ("min_side", "min_area", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is a number of pixels from 1 on, got {value}")

    def color(self) -> Color | None:
        """Return the background's color; ``None`` where it is transparent."""
        if self.background in BACKGROUNDS:
            return BACKGROUNDS[self.background]
        parts = self.background.split(",")
        if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) < 256 for part in parts):
            raise ValueError(
                f"background is {', '.join(BACKGROUNDS)} or a color such as 255,0,128, got {self.background!r}"
            )
        red, green, blue = map(int, parts)
        return red, green, blue

    def why_rejected(self, found: Measures) -> str | None:
        """Return why an object is no cut-out by its measures; ``None`` where it is one."""
        left, top, right, bottom = found.box
        if min(right - left, bottom - top) < self.min_side:
            return f"too small: {right - left} x {bottom - top} pixels, a side below {self.min_side}"
        if found.area < self.min_area:
            return f"too small: {found.area} pixels, fewer than {self.min_area}"
        if found.truncated and not self.truncated:
            return "truncated: touches the border of the image"
        if found.occlusion > self.max_occlusion:
            return f"occluded: others cover {found.occlusion:.2f} of its box, more than {self.max_occlusion:g}"
        if found.largest_part < self.min_largest_part:
            return f"in parts: the largest is {found.largest_part:.2f} of it, less than {self.min_largest_part:g}"
        return None

    def settings(self) -> dict[str, Any]:
        """Return the options as ``settings.json`` holds them."""
        return {**asdict(self), "classes": None if self.classes is None else list(self.classes)}
