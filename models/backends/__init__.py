"""Backends that compute packs: torch, numba on a CPU, Triton on a GPU; one for a process."""
