"""Mel spectrograms back into audio, without trained weights: the torch side of Unmel.

Shapes are named by one alphabet everywhere: `T` frames, `K` mel bands, `N` frequency bins
(`n_fft // 2 + 1`), `L` samples.
"""
