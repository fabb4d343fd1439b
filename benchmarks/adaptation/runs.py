"""One training of the adaptation benchmark: data, network, losses and schedules as published, and the test."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.adaptation.digits import OPEN, DigitBatches, Digits, known_first, load_digits, published_part, sizes_of
from benchmarks.adaptation.networks import (
    adr_classifier,
    adr_generator,
    mcd_classifier,
    mcd_generator,
    osbp_classifier,
    osbp_generator,
)
from tobias_aug.adaptation import (
    ADR,
    MCD,
    OSBP,
    DANNLoss,
    DomainDiscriminator,
    FeatureAlignment,
    MMDLoss,
    OpenSetLoss,
    ReversalSchedule,
    adapt_batch_norm,
    open_set_svm,
)
from tobias_aug.adaptation.steps import AdversarialStep, JointStep
from tobias_aug.metrics import OpenSetMetrics
from tobias_aug.training import launch, train

# Of OSBP's reimplementation: epochs of the source that the reversal's ramp takes, of 200.
RAMP_EPOCHS = {"usps-mnist": 50, "mnist-usps": 30}
# Of MCD's official code: an epoch ends with the smaller set, and the training with whichever comes first.
EPOCHS, MOST_STEPS = 200, 20_000
# Source images that the support vector machines are fitted on, and test images of a domain that an image shows.
SVM_SAMPLES, DRAWN = 5000, 300


class Run:
    """One training: a task, a method and a seed."""

    def __init__(self, args: argparse.Namespace, task: str, method: str, seed: int) -> None:
        self.args, self.task, self.method, self.seed = args, task, method, seed
        names = task.split("-")
        source, target = (self.load(name, train=True) for name in names)
        if args.protocol == "published":
            source, target = (
                published_part(part, name, seed) for part, name in zip((source, target), names, strict=True)
            )
        if method in OPEN:
            source = source.only(source.labels < len(args.known))
        # ADR's network takes the difference from the mean image of both domains, the others pixels in [-1, 1].
        self.middle, self.scale = torch.tensor(0.5), 2.0
        if method == "adr":
            self.middle, self.scale = torch.cat([source.images, target.images]).mean(0), 1.0
        self.source = self.prepared(source)
        # From here on there is no label of the target but those of the test set.
        self.target = self.prepared(target).images
        self.tests = [self.prepared(self.load(name, train=False)) for name in names]
        self.data = {name: sizes_of(args.data, name) for name in names}
        self.batches = DigitBatches(self.source, self.target, args.batch_size, seed, move=method in OPEN)
        self.smaller = min(len(self.source.images), len(self.target))
        self.iterations = args.iterations or min(EPOCHS * (self.smaller // args.batch_size), MOST_STEPS)
        accelerator = "cuda" if args.device.startswith("cuda") else "cpu"
        precision = {"fp32": "32-true", "bf16": "bf16-mixed"}[args.precision]
        self.fabric = launch(accelerator=accelerator, precision=precision)
        torch.manual_seed(seed)
        self.step = self.build()
        self.model: nn.Module = self.step.method

    def load(self, name: str, train: bool) -> Digits:
        if self.method not in OPEN:
            return load_digits(self.args.data, name, train)
        return known_first(load_digits(self.args.data, name, train, self.args.margin), self.args.known)

    def prepared(self, digits: Digits) -> Digits:
        return Digits((digits.images - self.middle) * self.scale, digits.labels).to(self.args.device)

    def build(self) -> AdversarialStep | JointStep:
        """Network, losses, optimizers and schedules as published."""
        args, method = self.args, self.method
        if method in ("mcd", "adr"):
            if method == "mcd":
                model: Any = MCD(mcd_generator(), mcd_classifier(), mcd_classifier(), updates=args.n)
                classifiers = model.classifiers
            else:
                model = ADR(adr_generator(), adr_classifier(), updates=args.n, variant=args.variant, weight=args.weight)
                classifiers = model.classifier
            model.to(memory_format=torch.channels_last)
            return AdversarialStep(self.fabric, model, adam(model.generator), adam(classifiers))
        base = {"bp-osvm": "dann", "mmd-osvm": "mmd", "osvm": "source"}.get(method, method)
        width = 500 if method in OPEN else 768
        criterion: Any = {"dann": lambda: DANNLoss(DomainDiscriminator(width)), "mmd": MMDLoss}.get(
            base, lambda: None
        )()
        if method == "osbp":
            criterion = OpenSetLoss(osbp_classifier(len(args.known) + 1))
            model = OSBP(osbp_generator(), criterion)
        elif method in OPEN:
            model = FeatureAlignment(osbp_generator(), osbp_classifier(len(args.known)), criterion)
        else:
            model = FeatureAlignment(mcd_generator(), mcd_classifier(), criterion)
        schedules: list[Any] = []
        if base == "dann":
            schedules.append(ReversalSchedule(criterion.reversal, self.iterations))
        elif base == "osbp":
            share = RAMP_EPOCHS[self.task] * len(self.batches) / EPOCHS / (self.smaller // args.batch_size)
            schedules.append(ReversalSchedule(criterion.reversal, max(1, round(share * self.iterations))))
        model.to(memory_format=torch.channels_last)
        optimizer = adam(model)
        if method in OPEN:
            optimizer = torch.optim.SGD(model.parameters(), 3e-3, momentum=0.9, weight_decay=1e-3, nesterov=True)
            schedules.append(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.iterations))
        return JointStep(self.fabric, model, optimizer, schedules)

    def finish(self, folder: Path) -> dict[str, Any]:
        """Train to the end, from the checkpoint where there is one; test, and return what is worth keeping."""
        args = self.args
        every = args.test_every if args.oracle else self.iterations
        tested = {}
        for steps in [*range(every, self.iterations, every), self.iterations]:
            start = perf_counter()
            times = train(
                self.fabric,
                self.step,
                self.batches,
                self.step.state,
                folder,
                steps=steps,
                checkpoint_every=args.checkpoint_every,
                log_every=args.log_every,
            )
            seconds = perf_counter() - start
            if args.oracle or steps == self.iterations:
                tested[steps] = self.test()
        final = tested[self.iterations]
        print(f"{self.method}, seed {self.seed}: {final}, {seconds:.0f} s", flush=True)
        kept = {"final": final, "steps": self.iterations, "tested": tested if args.oracle else {}, **times}
        return {**kept, "data": self.data}

    def test(self) -> dict[str, float]:
        """Per cent on the target's test set; OSBP's also with the target's own statistics."""
        scores = self.scores()
        if self.method != "osbp":
            return scores
        # In training either domain is normalized by its own batch, in prediction by the running mean of both.
        running = {name: value.clone() for name, value in self.model.named_buffers()}
        batches = self.target.split(1000)
        with self.fabric.autocast():
            adapt_batch_norm(self.model, batches[:-1] or batches)
        own = self.scores()
        for name, value in running.items():
            self.model.get_buffer(name).copy_(value)
        return scores | {f"{name}, the target's statistics": own[name] for name in ("OS", "OS*", "UNK")}

    @torch.inference_mode()
    def scores(self) -> dict[str, float]:
        self.model.eval()
        logits = self.over(self.tests[1].images, lambda images: self.outputs(images))
        labels = self.tests[1].labels.cpu()
        if self.method == "mcd":
            found = {"accuracy": logits.sum(1), "first classifier": logits[:, 0], "second classifier": logits[:, 1]}
            result = {name: 100 * float((one.argmax(1) == labels).double().mean()) for name, one in found.items()}
        elif self.method in OPEN:
            metrics = OpenSetMetrics(len(self.args.known))
            metrics.update(logits.argmax(1) if self.method == "osbp" else self.svm()(logits), labels)
            result = {name: 100 * value for name, value in metrics.compute().items()}
        else:
            result = {"accuracy": 100 * float((logits.argmax(1) == labels).double().mean())}
        self.model.train()
        return result

    def outputs(self, images: Tensor) -> Tensor:
        """Logits; of both classifiers for MCD, and features where a support vector machine follows."""
        if self.method == "mcd":
            return torch.stack(self.model.classify(self.model.generator(images)), 1)  # type: ignore[operator]
        if self.method.endswith("osvm"):
            return self.model.generator(images)  # type: ignore[operator, no-any-return]
        return self.model(images)  # type: ignore[no-any-return]

    def svm(self) -> Any:
        features = self.over(self.source.images[:SVM_SAMPLES], self.outputs)
        return open_set_svm(features, self.source.labels[:SVM_SAMPLES].cpu(), len(self.args.known))

    @torch.inference_mode()
    def features(self) -> dict[str, Tensor]:
        """Features of some test images of both domains, for the image; the labels only color it."""
        self.model.eval()
        kept = {}
        for name, digits in zip(("source", "target"), self.tests, strict=True):
            shown = (
                digits.only(digits.labels < len(self.args.known))
                if self.method in OPEN and name == "source"
                else digits
            )
            kept[name] = self.over(shown.images[:DRAWN], self.model.generator).half()  # type: ignore[arg-type]
            kept[f"{name} labels"] = shown.labels[:DRAWN].cpu()
        return kept

    def over(self, images: Tensor, function: Any) -> Tensor:
        with self.fabric.autocast():
            return torch.cat([function(part).float().cpu() for part in images.split(1000)])


def adam(part: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(part.parameters(), 2e-4, weight_decay=5e-4)
