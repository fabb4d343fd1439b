"""The datasets that the benchmarks read: which there are, and where one lies below a folder."""

from benchmarks.datasets.known import DATASETS
from benchmarks.datasets.layouts import OURS, Dataset, Found, Layout, find, locate, locate_all, missing, other_layouts

__all__ = ["DATASETS", "OURS", "Dataset", "Found", "Layout", "find", "locate", "locate_all", "missing", "other_layouts"]
