"""Items in, results out: packs by memory, long clips in blocks, streams."""
