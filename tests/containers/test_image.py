"""The image: small of surface, read-only, healthy, compiled, and sized by its limits."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import soundfile

from tests.containers.conftest import IMAGE, ROOT, Container, docker

CLIP = Path(__file__).parents[2] / "examples" / "clip.wav"


def test_it_runs_as_a_user_of_its_own_on_a_file_system_that_only_tmp_of_can_be_written(
    service: Container,
) -> None:
    assert service.run("id", "-u") == "10001"
    tried = (
        "for d in / /opt/unmel /var/cache/unmel /tmp; do touch $d/x 2>/dev/null && echo $d; done"
    )
    assert service.run("sh", "-c", f"{tried}; true") == "/tmp"  # noqa: S108 - in the container


def test_no_build_tools_and_nothing_but_the_product_are_in_it(service: Container) -> None:
    tools = "for t in gcc cc g++ make git curl; do command -v $t; done; true"
    assert service.run("sh", "-c", tools) == ""
    # setuptools puts the package's metadata beside the two storeys
    there = {name for name in service.run("ls", "/opt/unmel").split() if "dist-info" not in name}
    assert there <= {"unmel", "bin"}
    assert "unmel" in there
    left = "find /opt /var/cache/unmel /root /home -name '*.whl' -o -name pip"
    assert service.run("sh", "-c", f"{left} 2>/dev/null; true") == ""


def test_the_engine_comes_to_call_it_healthy(service: Container) -> None:
    service.wait_until(service.healthy)


def test_it_starts_with_the_loops_that_were_compiled_when_it_was_built(
    service: Container,
) -> None:
    code = (
        "from unmel.models.backends.cpu.compiled import LOOPS; LOOPS.wait();"
        "from unmel.models.backends.cpu.frames import frame; stats = frame.stats;"
        "print(sum(stats.cache_hits.values()), stats.cache_misses)"
    )
    hits, misses = service.run("python", "-c", code).splitlines()[-1].split(maxsplit=1)
    assert int(hits) > 0
    assert misses in ("Counter()", "{}")


def test_a_round_trip_gives_audio_of_the_clips_length(service: Container) -> None:
    made = httpx.post(
        f"{service.url}/analyze",
        files={"audio": ("clip.wav", CLIP.read_bytes())},
        data={"config": "hifigan-22k"},
        timeout=60,
    )
    assert made.status_code == 200
    answer = httpx.post(
        f"{service.url}/reconstruct",
        params={"config": "hifigan-22k", "quality": "draft"},
        content=made.content,
        headers={"Content-Type": "application/x-npy"},
        timeout=60,
    )
    assert answer.status_code == 200
    wave, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == 22050
    assert len(wave) == soundfile.info(CLIP).frames // 256 * 256
    assert float(np.abs(wave).max()) > 0.01


def test_lanes_follow_the_limit_and_not_the_hosts_cores(service: Container) -> None:
    """The container may use one core; its affinity shows all of the host's."""
    code = "from unmel.service.ops.cores import usable_cores; print(usable_cores())"
    assert service.run("python", "-c", code) == "1"


def test_the_image_is_no_larger_than_the_documents_say() -> None:
    size = int(docker("image", "inspect", "--format", "{{.Size}}", IMAGE))
    base = int(docker("image", "inspect", "--format", "{{.Size}}", "python:3.11-slim"))
    stated = (ROOT / "docs" / "operations.md").read_text()
    mib = int(stated.split(" MiB on top of its base")[0].rsplit(" ", 1)[1])
    assert (size - base) / 2**20 <= mib
