"""Magnitude to waveform."""
