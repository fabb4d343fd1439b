"""What a localizer is, by which names it is called, and how a table remembers which one made it."""

from __future__ import annotations

import json
import operator
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from tobias_aug.masks.object_hash import object_hash
from tobias_aug.runtime.renamed import current_value
from tobias_aug.weights.seeding import weight_hash

# Names and where their classes are; by name, since the methods build on the masks and not the other way round.
NAMED = {
    "random-cnn": "tobias_aug.localization.random_cnn:RandomCNN",
    "border-contrast": "tobias_aug.localization.border_contrast:BorderContrast",
    "center-prior": "tobias_aug.localization.priors:CenterPrior",
    "redo": "tobias_aug.redo.localizer:ReDO",
}
# What every module has: weights and submodules are compared as such, hooks decide no mask.
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


@runtime_checkable
class Localizer(Protocol):
    """Anything that scores where the object is; :func:`~tobias_aug.build_masks` and every adapter take any of them.

    Optional attributes: ``input_size`` (side in pixels that images are brought to, 224 where absent) and
    ``identity()`` (what :func:`identity` returns).
    """

    def heatmaps(self, images: Tensor) -> Float[Tensor, "batch rows columns"]:
        """Objectness at the localizer's own resolution; any scale, higher is more object."""
        ...

    def cell_scores(self, images: Tensor, grid: int = 4) -> Float[Tensor, "batch {grid} {grid}"]:
        """Objectness of each cell of a ``grid`` × ``grid`` grid over the whole image."""
        ...


def named_localizer(name: str, **options: Any) -> Localizer:
    """Build one of the library's localizers from its name and options.

    Raises:
        ValueError: if the name or an option is unknown.
    """
    name = current_value(name)
    if name not in NAMED:
        raise ValueError(f"unknown localizer {name!r}; choose {', '.join(NAMED)}")
    if name == "redo" and "run" not in options:
        raise ValueError("the localizer redo needs the folder of its training: run=..., or --run")
    made: Localizer = resolve_name(NAMED[name])(**options)
    return made


def as_localizer(localizer: Any) -> Localizer:
    """Take a localizer as it is, or build the one of that name with its defaults.

    Raises:
        TypeError: if it is neither.
        ValueError: if the name is unknown.
    """
    if isinstance(localizer, str):
        return named_localizer(localizer)
    if isinstance(localizer, type) or not callable(getattr(localizer, "cell_scores", None)):
        came = f"the class {localizer.__name__} itself" if isinstance(localizer, type) else type(localizer).__name__
        raise TypeError(
            f"expected a localizer, which has cell_scores(images, grid), or one of the names {', '.join(NAMED)}; "
            f"got {came}"
        )
    found: Localizer = localizer
    return found


def input_size(localizer: Localizer) -> int:
    """Side in pixels of the square image that the localizer looks at.

    Raises:
        TypeError: if its ``input_size`` is no whole number.
        ValueError: if it is below 1.
    """
    size = getattr(localizer, "input_size", 224)
    try:
        side = operator.index(size)
    except TypeError:
        raise TypeError(
            f"{type(localizer).__name__}.input_size must be the side of a square in pixels, got {size!r}"
        ) from None
    if side < 1:
        raise ValueError(f"{type(localizer).__name__}.input_size must be at least 1, got {side}")
    return side


def identity(localizer: Localizer) -> dict[str, Any]:
    """What tells two localizers apart: name, options, weight hash and precision, as JSON values.

    A localizer without an ``identity`` method is told by its class and its attributes, and a module by its weights
    too. What scoring itself has changed since a build, such as a counter, tells nothing; see :func:`scoring`.

    Raises:
        TypeError: if its ``identity`` returns anything but a dictionary of JSON values, or an attribute cannot be
            compared.
    """
    described = localizer.identity() if _has_identity(localizer) else _by_content(localizer)  # type: ignore[attr-defined]
    try:
        if not isinstance(described, dict):
            raise TypeError(f"got a {type(described).__name__}")
        values: dict[str, Any] = json.loads(json.dumps(described))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{type(localizer).__name__}.identity() must return a dictionary of JSON values that decide its masks: "
            f"{error}"
        ) from error
    return values


@contextmanager
def scoring(localizer: Localizer) -> Iterator[None]:
    """Remember which attributes change while a localizer scores, so that they do not make it another one."""
    if _has_identity(localizer):
        yield
        return
    before = _attributes(localizer)
    try:
        yield
    finally:
        after = _attributes(localizer)
        changed = {name: after.get(name) for name in {**before, **after} if before.get(name) != after.get(name)}
        if changed:
            _remember(localizer, changed, before)


def _has_identity(localizer: Localizer) -> bool:
    # Of the class: a module can hold a layer of that name.
    return callable(getattr(type(localizer), "identity", None))


# By the id of a localizer: what its attributes were before it scored, and what scoring made of them.
_changed: dict[int, dict[str, tuple[Any, Any]]] = {}
_WEIGHTS = "its weights"
_INCOMPARABLE = "its content cannot be compared"


def _remember(localizer: Localizer, changed: dict[str, Any], before: dict[str, Any]) -> None:
    key = id(localizer)
    if key not in _changed:
        try:
            weakref.finalize(localizer, _changed.pop, key, None)
        except TypeError:  # Slots without a weak reference: its id could be another's later.
            return
        _changed[key] = {}
    _changed[key] |= {name: (before.get(name), value) for name, value in changed.items()}


def _by_content(localizer: Localizer) -> dict[str, Any]:
    options = _attributes(localizer)
    lost = [name for name, value in options.items() if value == _INCOMPARABLE]
    if lost:
        raise TypeError(
            f"cannot tell which {type(localizer).__name__} this is, since its attribute {lost[0]} cannot be compared; "
            "give the class a method identity() that returns a dictionary of JSON values that decide its masks"
        )
    weights = options.pop(_WEIGHTS, None)
    name = f"{type(localizer).__module__}.{type(localizer).__qualname__}"
    return {"name": name, "weights": weights, "options": options, "precision": "fp32"}


def _attributes(localizer: Localizer) -> dict[str, Any]:
    """The attributes by name: numbers and texts as they are, all others by a digest."""
    held = _held_by_module(localizer) if isinstance(localizer, nn.Module) else _held_by_object(localizer)
    found = {str(name): _plain(value, localizer) for name, value in held.items()}
    if isinstance(localizer, nn.Module):
        found[_WEIGHTS] = weight_hash(localizer)
    for name, (before, after) in _changed.get(id(localizer), {}).items():
        if found.get(name) == after:
            found[name] = before
    return {name: value for name, value in found.items() if value is not None}


def _held_by_module(module: nn.Module) -> dict[str, Any]:
    held = dict(vars(module))
    network = [held.pop(name) for name in ("_parameters", "_buffers", "_modules")]
    own = {name: value for name, value in held.items() if name not in _OF_EVERY_MODULE}
    return {**own, "training": module.training, "network": network}


def _held_by_object(value: object) -> dict[str, Any]:
    """What pickle would store of an object."""
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # Classes reject to be pickled with errors of any kind.
        return {"state": iter(())}
    if isinstance(reduced, str):
        return {"global name": reduced}
    _, arguments, state, *items = (*reduced, None)[: max(3, len(reduced))]
    if isinstance(state, tuple) and len(state) == 2 and all(isinstance(part, dict | None) for part in state):
        state = {**(state[0] or {}), **(state[1] or {})}  # Of a class with slots.
    held = {} if state is None else dict(state) if isinstance(state, dict) else {"state": state}
    if len(arguments) != 1 or arguments[0] is not type(value):
        held["made with"] = arguments
    if any(items):
        held["items"] = [list(item) for item in items if item is not None]
    return held


def _plain(value: Any, localizer: Localizer) -> Any:
    if type(value) in (bool, int, float, str):
        return value
    try:
        return object_hash(value, localizer)
    except TypeError:
        return _INCOMPARABLE
