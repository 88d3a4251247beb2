"""Bytes to checked work, and samples to bytes, without the queue."""
