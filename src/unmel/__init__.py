"""Mel spectrograms back into audio, over HTTP, without trained weights."""
