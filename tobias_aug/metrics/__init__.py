"""What the benchmarks count, and a user may count too."""
