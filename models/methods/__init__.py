"""The methods: mel to magnitude, first phases, phase recovery, and mel to waveform at once."""
