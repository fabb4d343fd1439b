"""Numbers that come from runs: ``python -m benchmarks.NAME --help``."""
