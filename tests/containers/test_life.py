"""A container's ends: stopped under load, killed, short of memory; and the compose file's own."""

from __future__ import annotations

import io
import os
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import numpy as np

from tests.containers.conftest import IMAGE, ROOT, Container, container, docker, free_port


def mel(frames: int) -> bytes:
    body = io.BytesIO()
    values = np.random.default_rng(frames).normal(-4.0, 2.0, (80, frames))
    np.save(body, values.astype(np.float32))
    return body.getvalue()


def reconstruct(url: str, body: bytes, name: str = "", **options: str | int) -> httpx.Response:
    return httpx.post(
        f"{url}/reconstruct",
        params={"config": "hifigan-22k", "quality": "draft", **options},
        content=body,
        headers={"Content-Type": "application/x-npy"} | ({"X-Request-ID": name} if name else {}),
        timeout=300,
    )


def test_docker_stop_under_load_loses_nothing_that_was_accepted() -> None:
    body = mel(3000)
    with container(UNMEL_LANES="1") as service, ThreadPoolExecutor(8) as pool:
        jobs = {
            f"job-{seed}": pool.submit(reconstruct, service.url, body, f"job-{seed}", seed=seed)
            for seed in range(8)
        }

        def accepted(name: str) -> bool:
            stage = httpx.get(f"{service.url}/progress/{name}", timeout=30).json()["stage"]
            return jobs[name].done() or stage in ("queue", "compute", "encode")

        service.wait_until(lambda: all(map(accepted, jobs)))
        assert not all(job.done() for job in jobs.values())
        docker("stop", "-t", "60", service.id)
        assert [job.result().status_code for job in jobs.values()] == [200] * 8
        assert service.inspect(".State.ExitCode") == 0


def test_it_is_back_after_its_process_was_killed() -> None:
    with container("--restart", "on-failure") as service:
        pid = service.inspect(".State.Pid")
        assert isinstance(pid, int)
        os.kill(pid, 9)
        service.wait_until(lambda: service.inspect(".RestartCount") == 1)
        service.wait_until(service.ready)
        assert reconstruct(service.url, mel(50)).status_code == 200


def test_more_than_memory_holds_is_refused_and_the_container_lives() -> None:
    """Bodies of 6 MB, thirty at once, into a limit that a few of them fit into."""
    limits = {"UNMEL_MAX_HELD_MB": "64", "UNMEL_MAX_BODY_MB": "16", "UNMEL_LANES": "1"}
    body = mel(20_000)
    with (
        container("--memory", "1g", "--memory-swap", "1g", **limits) as service,
        ThreadPoolExecutor(30) as pool,
    ):
        jobs: list[Future[httpx.Response]] = [
            pool.submit(reconstruct, service.url, body, n_iter=2) for _ in range(30)
        ]
        answers = [job.result() for job in jobs]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} == {200, 503}
        assert all("retry-after" in answer.headers for answer in refused)
        assert service.inspect(".State.OOMKilled") is False
        assert service.inspect(".RestartCount") == 0
        assert reconstruct(service.url, mel(50)).status_code == 200


def test_compose_up_serves() -> None:
    """The file as it is, but for the network: not every engine has one to publish ports from."""
    port = free_port()
    override = "\n".join(
        (
            "services:",
            "  unmel:",
            "    network_mode: host",
            "    ports: !reset []",
            f"    environment: {{ UNMEL_HOST: 127.0.0.1, UNMEL_PORT: '{port}' }}",
        )
    )
    tag = IMAGE.partition(":")[2]
    environment = {**os.environ, "UNMEL_TAG": tag, "COMPOSE_PROJECT_NAME": "unmel-test"}

    def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", "-f", "docker-compose.yml", "-f", "-", *arguments],
            input=override,
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    try:
        up = compose("up", "-d", "--no-build", "--wait", "--wait-timeout", "120")
        assert up.returncode == 0, up.stderr
        ident = compose("ps", "-q", "unmel").stdout.strip()
        service = Container(ident, f"http://127.0.0.1:{port}")
        assert reconstruct(service.url, mel(50)).status_code == 200
        host = service.inspect(".HostConfig")
        assert isinstance(host, dict)
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert (host["NanoCpus"], host["Memory"]) == (2_000_000_000, 4 * 2**30)
    finally:
        compose("down")
