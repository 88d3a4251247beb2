"""A picture of quality against time, one point per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter


def draw(points: Sequence[tuple[str, float, float, bool]], file: Path) -> None:
    """Write `(name, seconds a second of audio, PESQ, peer)` as SVG."""
    # Fixed ids and no date, so that equal figures give equal files.
    plt.rcParams |= {"svg.hashsalt": "unmel", "font.size": 8, "svg.fonttype": "none"}
    figure, axes = plt.subplots(figsize=(9, 5))
    figure.subplots_adjust(right=0.68)
    best_first = sorted(points, key=lambda point: -point[2])
    for number, (name, seconds, pesq, peer) in enumerate(best_first, 1):
        joint = name.startswith(("consistent", "admm_mel"))
        colour = "tab:red" if peer else "tab:blue" if joint else "tab:gray"
        axes.plot(seconds, pesq, "s" if peer else "o", color=colour, markersize=5)
        # Neighbours in the list lie close together, so their numbers are on alternate sides.
        side = (5, 3) if number % 2 else (-11, -8)
        axes.annotate(str(number), (seconds, pesq), xytext=side, textcoords="offset points")
        y = 1.0 - 0.045 * number
        axes.text(1.03, y, f"{number}  {name}", transform=axes.transAxes, color=colour)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("seconds of one core for a second of audio")
    axes.set_ylabel("PESQ wide-band")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.set_title("blue: joint; grey: two stages; red squares: librosa and torchaudio", fontsize=8)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
