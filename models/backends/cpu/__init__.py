"""The numba backend: loops that are compiled for this processor, transforms among them."""
