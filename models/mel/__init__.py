"""Mel configurations: scales, filterbanks, presets, and whether an array is a mel of one."""
