"""Mel to waveform in one iteration."""
