"""The Triton backend: loops that are compiled for a GPU."""
