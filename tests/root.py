"""Where the checkout is: for tests that read the files of its other folders."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
