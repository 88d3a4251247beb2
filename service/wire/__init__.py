"""Bytes to checked work, and samples to bytes; it knows no queue."""
