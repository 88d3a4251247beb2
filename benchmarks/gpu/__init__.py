"""Whether Unmel works on a GPU, how fast it is there, and what share of the card that takes."""
