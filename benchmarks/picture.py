"""One picture: quality against time, a point per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt


def draw(points: Sequence[tuple[str, float, float, bool]], file: Path) -> None:
    """Write `(name, seconds a second of audio, PESQ, peer)` as SVG."""
    # Fixed ids and no date: the same figures give the same file.
    plt.rcParams |= {"svg.hashsalt": "unmel", "font.size": 8, "svg.fonttype": "none"}
    figure, axes = plt.subplots(figsize=(8, 5))
    for name, seconds, pesq, peer in points:
        joint = name.startswith(("consistent", "admm_mel"))
        colour = "tab:red" if peer else "tab:blue" if joint else "tab:gray"
        axes.plot(seconds, pesq, "s" if peer else "o", color=colour, markersize=5)
        axes.annotate(name, (seconds, pesq), xytext=(4, 3), textcoords="offset points", fontsize=6)
    axes.set_xscale("log")
    axes.set_xlabel("seconds of one core for a second of audio")
    axes.set_ylabel("PESQ wide-band")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.set_title("blue: joint, grey: two stages, red: librosa", fontsize=8)
    figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
