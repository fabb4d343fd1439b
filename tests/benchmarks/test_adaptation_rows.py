"""The rows of the adaptation benchmark: what stands beside the papers' numbers, and under which name."""

import pytest

pytest.importorskip("lightning", reason="needs the extra train")

from benchmarks.adaptation.run import PAPER, PAPER_MCD, TASKS, rows_of

pytestmark = pytest.mark.slow


def made(metric="accuracy", value=94.0, **settings):
    """What a run stores, of the published settings but for those given."""
    settings = {"iterations": None, "batch_size": 128, "precision": "fp32", **settings}
    return {"final": {metric: value}, "tested": {}, "settings": settings, "origins": []}


def test_rows_are_means_over_seeds():
    (row,) = rows_of({"usps-mnist, full, osbp": {str(n): made("OS", 90.0 + n) for n in range(3)}})
    assert (row.value, row.std, row.n, row.reference) == (91.0, 1.0, 3, 92.3)
    assert row.ratio == 91 / 92.3


@pytest.mark.parametrize("changed", [{}, {"iterations": 5}, {"batch_size": 16}, {"precision": "bf16"}])
def test_only_the_published_settings_stand_beside_the_papers_numbers(changed):
    """Whatever of the recipe differs takes the number and the word "published" away; bf16 is arithmetic, no recipe."""
    names = {f"{task}, published, mcd n=4": ("accuracy", PAPER_MCD[f"{task}, published, mcd n=4"]) for task in TASKS}
    names |= {f"{task}, full, {method}": ("OS", metrics["OS"]) for (task, method), metrics in PAPER.items()}
    names |= dict.fromkeys(["usps-mnist, published, mcd n=2", "usps-mnist, full, mcd n=4"], ("accuracy", None))
    names |= dict.fromkeys(["usps-mnist, published, osbp", "usps-mnist, full, osbp known 56789"], ("OS", None))
    rows = rows_of({name: {"0": made(metric, **changed)} for name, (metric, _) in names.items()})
    published = changed.keys() <= {"precision"}
    assert len(rows) == len(names)
    for row, (name, (metric, reference)) in zip(rows, names.items(), strict=True):
        assert row.reference == (reference if published else None)
        assert ("reduced run" not in row.name) == published
        assert ("published" in row.name) == (published and "published" in name)
        assert row.name.endswith(f": {metric}")


def test_settings_in_which_methods_differ_stand_in_their_rows():
    """Else a mean in fp32 would stand beside one in bf16 as if they were alike."""
    runs = {
        f"usps-mnist, published, {method}": {"0": made(precision=precision)}
        for method, precision in (("mcd n=4", "bf16"), ("adr n=4", "fp32"))
    }
    assert [row.name for row in rows_of(runs)] == [
        "usps-mnist, published, mcd n=4, precision bf16: accuracy",
        "usps-mnist, published, adr n=4, precision fp32: accuracy",
    ]


def test_digits_of_other_sizes_are_not_the_papers():
    run = made()
    run["data"] = {"mnist": [60_000, 10_000], "usps": [60, 60]}
    (row,) = rows_of({"usps-mnist, published, mcd n=4": {"0": run}})
    assert (row.name, row.reference) == ("usps-mnist, reduced run, mcd n=4: accuracy", None)
