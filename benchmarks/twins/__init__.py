"""Reference twins: every method as its paper says it, slow and obvious, one clip at a time.

They share no code with `models` beyond the config, its filterbank and the schedules' numbers; the
tests hold the methods to them sample by sample, and `benchmarks/originals.py` score by score.
Spectra here are `[N, T]`, phases counted from the first sample of the n_fft frame, as librosa and
torch have them. The default method's paper is docs/method.md.
"""
