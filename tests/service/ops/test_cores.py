"""Lanes follow what a container may use, not what its host has."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from unmel.service.ops import cores
from unmel.service.ops.cores import quota_cores, usable_cores

V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
        ("0::/", {}, math.inf),
        # the least of the groups on the way up counts
        (
            "0::/kube/pod",
            {
                "sys/fs/cgroup/kube/cpu.max": "200000 100000",
                "sys/fs/cgroup/kube/pod/cpu.max": "max 100000",
            },
            2.0,
        ),
        # the host's path, which a container does not see
        ("0::/../docker/7f", {"sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        (
            "4:cpu,cpuacct:/docker/7f\n0::/",
            {f"{V1}/cpu.cfs_quota_us": "300000\n", f"{V1}/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        (
            "4:cpu,cpuacct:/",
            {f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"},
            math.inf,
        ),
        # cpuset is another controller
        ("3:cpuset:/", {"sys/fs/cgroup/cpuset/cpu.max": "50000 100000"}, math.inf),
    ],
)
def test_a_quota_is_read_from_either_version_of_control_groups(
    tmp_path: Path, group: str, files: dict[str, str], expected: float
) -> None:
    for name, text in {"proc/self/cgroup": group, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert quota_cores(tmp_path) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota_cores(tmp_path) == math.inf


@pytest.mark.parametrize(
    ("quota", "affinity", "expected"),
    [(0.2, 8, 1), (1.5, 8, 2), (2.0, 8, 2), (math.inf, 8, 8), (6.0, 4, 4)],
)
def test_a_part_of_a_core_is_a_lane_and_never_more_than_the_affinity(
    monkeypatch: pytest.MonkeyPatch, quota: float, affinity: int, expected: int
) -> None:
    monkeypatch.setattr(cores, "quota_cores", lambda: quota)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    assert usable_cores() == expected
