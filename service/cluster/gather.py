"""Metrics of all replicas in one text for Prometheus, each sample labelled with its replica."""

from __future__ import annotations

from collections.abc import Mapping


def gather(texts: Mapping[str, str]) -> str:
    """Merge the metrics of several replicas.

    Parameters
    ----------
    texts
        Prometheus's text format, by replica.

    Returns
    -------
    One text in which every metric family appears once, as the format requires.

    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for replica, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head:
                    head.append(line)
            elif line and not line.startswith("#"):
                samples.setdefault(family, []).append(_labelled(line, replica))
    return "".join(
        f"{line}\n" for family in samples for line in heads.get(family, []) + samples[family]
    )


def _labelled(sample: str, replica: str) -> str:
    """Line of a sample with the label `replica` before its others."""
    label = f'replica="{replica}"'
    name, space, value = sample.partition(" ")
    metric, brace, _ = name.partition("{")
    if not brace:
        return f"{metric}{{{label}}}{space}{value}"
    return f"{metric}{{{label},{sample[len(metric) + 1 :]}"
