"""Compile every mix, ``apply`` as a whole and a step of epochs, and print as JSON whether it gives the same."""

import json

import torch

from tests.contracts.mixes import MIXES


def outcome(case) -> str:
    images, labels = case.batch(4)
    mix = case.make(generator=torch.Generator().manual_seed(0))
    params = case.draw(mix, images, labels)
    compiled = torch.compile(mix.apply, fullgraph=True)((images, labels), params)
    try:
        torch.testing.assert_close(compiled, mix.apply((images, labels), params), rtol=1e-6, atol=1e-6)
    except AssertionError as error:
        return str(error)
    return "the same"


def step_outcome(case) -> str:
    """A step of training, drawn and mixed inside; the last batch of an epoch is smaller."""
    mix = case.make()
    step = torch.compile(lambda images, labels: case.call(mix, images, labels), backend="eager")
    for count in (6, 4, 6, 3, 1):
        images, labels = case.batch(count, seed=count)
        torch.manual_seed(count)
        found = step(images, labels)
        torch.manual_seed(count)
        expected = case.call(mix, images, labels)
        try:
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
        except AssertionError as error:
            return f"{count} images: {error}"
    return "the same"


def main() -> None:
    outcomes = {}
    for name, case in MIXES.items():
        if not case.compiles:
            continue
        for what, look in (("apply", outcome), ("step", step_outcome)):
            torch._dynamo.reset()
            try:
                outcomes[f"{what} {name}"] = look(case)
            except Exception as error:  # Whatever it is, the test that reads this shows it.
                outcomes[f"{what} {name}"] = f"{type(error).__name__}: {error}"
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
