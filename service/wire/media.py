"""Media types of bodies and answers; those of audio are in `formats`, Prometheus's in `metrics`."""

from __future__ import annotations

JSON = "application/json"
FORM = "multipart/form-data"
PROBLEM = "application/problem+json"
OCTET_STREAM = "application/octet-stream"
NPY = "application/x-npy"
NPZ = "application/x-npz"
SAFETENSORS = "application/x-safetensors"
FRAMES = "application/x-f32le"
"""Mel frames, float32 little-endian row by row, read as they arrive."""

ARRAY_TYPES: dict[str, str] = {
    NPY: NPY,
    "application/npy": NPY,
    OCTET_STREAM: OCTET_STREAM,
    NPZ: NPZ,
    "application/npz": NPZ,
    "application/zip": NPZ,
    SAFETENSORS: SAFETENSORS,
    "application/safetensors": SAFETENSORS,
    "application/vnd.safetensors": SAFETENSORS,
}
"""Media types of array files, and the format that each stands for; the first bytes of an
octet-stream show its format.
"""
