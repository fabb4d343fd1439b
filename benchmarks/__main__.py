"""The benchmarks: what each repeats, the datasets that it reads, and how long its committed run took.

    python -m benchmarks
    python -m benchmarks.NAME --help

Times are those of the committed records, on two CPU cores without a GPU, for one run: one method and one seed, often
with reduced settings. Where a record holds no time there is none here.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.command import command, data_argument, new_parser
from benchmarks.datasets import DATASETS, find


@dataclass(frozen=True)
class Benchmark:
    """One ``python -m benchmarks.NAME``.

    Attributes:
        name: of the module below ``benchmarks``.
        what: it measures, in one line.
        repeats: the paper and its table, or "" where it compares with peers or limits.
        time: of one committed run, or "".
    """

    name: str
    what: str
    repeats: str = ""
    time: str = ""


BENCHMARKS = (
    Benchmark("throughput", "speed beside the peer or the limit, without a dataset", time="1 to 2 min with --quick"),
    Benchmark(
        "localization",
        "boxes by untrained networks and BorderContrast",
        "A Random CNN Sees Objects, Tables 1 and 2",
    ),
    Benchmark(
        "ssl", "what masks are worth in pretraining", "the same paper, Tables 3, 5, 6 and 7", "--plan estimates it"
    ),
    Benchmark("ssl.supervised", "what masks are worth in supervised training, also on other backgrounds"),
    Benchmark(
        "between_class",
        "between-class learning on CIFAR-10",
        "Between-class Learning for Image Classification, CIFAR-10",
    ),
    Benchmark(
        "between_class_sound",
        "between-class learning on ESC-10",
        "Learning from Between-class Examples, Table 1",
        "2 min per fold, reduced",
    ),
    Benchmark(
        "adaptation",
        "MNIST and USPS: source, DANN, MMD, MCD, ADR, and open set",
        "MCD's digits; open set by back-propagation, its digits",
        "1 to 9 min",
    ),
    Benchmark("segmentation_adaptation", "MCD and ADR from clear to foggy streets"),
    Benchmark("detection", "raccoons in fog: strong-weak alignment and others", time="12 to 20 min, reduced"),
    Benchmark("orand", "two classifiers' maps fused, and ORANDNet", "ORANDNet, Table 1"),
    Benchmark("refinement", "PAMR, dense CRF and IRN on coarse masks"),
    Benchmark("redo", "objects segmented without labels", "ReDO, Table 1 and Figure 4", "85 min for 9,000 steps"),
    Benchmark("cut_paste", "a detector with and without pasted objects"),
    Benchmark("gan", "GANs on cars by KID, Frechet distance and Inception score", "the car report's table"),
    Benchmark("gan.gaussians", "an encoder and a generator on eight Gaussians", "LOGAN-B's own table"),
    Benchmark("gan.speed", "a training step of the GANs beside a plain PyTorch loop"),
    Benchmark("table_lookup", "opening a big mask table and looking masks up"),
    Benchmark("scale", "the constants of a plan for very many images"),
)


def table() -> str:
    """Return one line per benchmark."""
    readers = {
        each.name: [data.name for data in DATASETS.values() if each.name in data.benchmarks] for each in BENCHMARKS
    }
    width = max(len(each.name) for each in BENCHMARKS)
    lines = []
    for each in BENCHMARKS:
        parts = [each.what]
        parts += [f"repeats {each.repeats}"] if each.repeats else []
        parts += [f"reads {', '.join(readers[each.name])}"] if readers[each.name] else []
        parts += [f"time: {each.time}"] if each.time else []
        lines.append(f"{each.name:{width}}  {'; '.join(parts)}")
    return "\n".join(lines)


@command
def main() -> None:
    parser = new_parser(__doc__)
    data_argument(parser, "the datasets")
    args = parser.parse_args()
    print(f"python -m benchmarks.NAME --help says more; NAME is one of\n\n{table()}\n")
    lacking = [data.name for data in DATASETS.values() if data.benchmarks and find(data, args.data) is None]
    found = f"below {args.data} " + (
        f"these datasets are missing: {', '.join(lacking)}" if lacking else "all datasets are"
    )
    print(f"{found}; python -m benchmarks.data says where each is looked for and how to get it")


if __name__ == "__main__":
    main()
