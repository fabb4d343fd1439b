"""Compile ``apply`` of every mix as a whole, and print as JSON whether it gives the same: ``python -m`` this."""

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


def main() -> None:
    outcomes = {}
    for name, case in MIXES.items():
        torch._dynamo.reset()
        try:
            outcomes[name] = outcome(case)
        except Exception as error:  # Whatever it is, the test that reads this shows it.
            outcomes[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
