"""The two optimizers of a segmentor that adapts in three steps, and the options that they reject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import nn

_OPTIMIZERS = ("generator", "classifiers")
# What a wrapper does around a backward pass, which here is one of both optimizers.
_OF_A_STEP = ("update_params", "backward", "scale_loss", "optim_context")
_CONSTRUCTOR = "GeneratorClassifiersConstructor"


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GeneratorClassifiersConstructor:
    """Two optimizers for a :class:`DiscrepancySegmentor`, one for backbone and neck and one for the decode heads.

    Each is configured as mmengine's single one is, ``paramwise_cfg`` included::

        optim_wrapper = dict(
            constructor="GeneratorClassifiersConstructor",
            generator=dict(optimizer=dict(type="SGD", lr=0.001, momentum=0.9)),
            classifiers=dict(optimizer=dict(type="SGD", lr=0.001, momentum=0.9)),
        )

    Raises:
        ValueError: if one is missing, there is a third, or one asks for what the steps do not do: to scale its loss
            for mixed precision, or to accumulate gradients over iterations.
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Any = None) -> None:
        given = {name: one for name, one in optim_wrapper_cfg.items() if name != "type"}
        if set(given) != set(_OPTIMIZERS) or paramwise_cfg:
            raise ValueError(
                f"{_CONSTRUCTOR} takes optimizers for {' and '.join(_OPTIMIZERS)}, each with its own paramwise_cfg, "
                f"got {', '.join(given)}"
            )
        # The wrapper of both has a type too, which is what the option --amp of mmseg's tools changes.
        wrappers = {"both": {"type": optim_wrapper_cfg.get("type", "OptimWrapper")}, **given}
        for name, one in wrappers.items():
            wrapper = one.get("type", "OptimWrapper")
            wrapper = OPTIM_WRAPPERS.get(wrapper) if isinstance(wrapper, str) else wrapper
            if wrapper is None:
                raise ValueError(f"mmengine knows no optimizer wrapper {one['type']!r}; take OptimWrapper for {name}")
            _check_wrapper(name, wrapper, one.get("accumulative_counts", 1))
        self._wrappers = given

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build both.

        Raises:
            ValueError: if the model is spread over several processes, whose gradients the steps do not join.
        """
        if is_model_wrapper(model):
            raise ValueError(f"MCD and ADR train in one process, got a model in a {type(model).__name__}")
        parts = cast(Any, model).parts()
        wrappers = {name: build_optim_wrapper(part, dict(self._wrappers[name])) for name, part in parts.items()}
        return OptimWrapperDict(**wrappers)


def both_wrappers(wrapper: Any) -> tuple[OptimWrapper, OptimWrapper]:
    """Return the optimizers of generator and classifiers that the runner hands to a step.

    Raises:
        TypeError: if they are not these two.
        ValueError: if one asks for what the steps do not do.
    """
    if not isinstance(wrapper, OptimWrapperDict) or set(wrapper.keys()) != set(_OPTIMIZERS):
        raise TypeError(
            f"the steps need an optimizer each for {' and '.join(_OPTIMIZERS)}, got a {type(wrapper).__name__}; set "
            f'optim_wrapper=dict(constructor="{_CONSTRUCTOR}", generator=dict(...), classifiers=dict(...))'
        )
    for name, one in wrapper.items():
        _check_wrapper(name, type(one), one._accumulative_counts)
    return wrapper["generator"], wrapper["classifiers"]


def _check_wrapper(name: str, wrapper: type[Any], accumulative_counts: int) -> None:
    """Raise where a wrapper would do something around a backward pass, which here is one of both optimizers."""
    if issubclass(wrapper, AmpOptimWrapper):
        raise ValueError(
            "step A moves both parts by one backward pass, and AmpOptimWrappers scale their losses separately; "
            f'take OptimWrapper for {name}, and precision="bf16" in the model for speed'
        )
    changed = [part for part in _OF_A_STEP if getattr(wrapper, part, None) is not getattr(OptimWrapper, part)]
    if changed:
        raise ValueError(
            f"the steps take gradients themselves, and {wrapper.__name__} has its own {', '.join(changed)}; take "
            f"OptimWrapper for {name}"
        )
    if accumulative_counts != 1:
        raise ValueError(
            "the three steps clear each other's gradients, so none can be accumulated over iterations; leave "
            f"accumulative_counts={accumulative_counts} of {name} out, and raise the batch_size of the train_dataloader"
        )
