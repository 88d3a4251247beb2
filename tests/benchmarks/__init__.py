"""The benchmarks: what they measure with."""
