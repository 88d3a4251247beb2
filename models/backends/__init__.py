"""What computes a pack: torch, numba on a CPU or Triton on a GPU, one for a process."""
