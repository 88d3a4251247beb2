"""A configuration's constants on the device, and the packed STFT that works with them."""
