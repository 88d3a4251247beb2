"""Run every command of the README, in its order, in a clean clone: python -m tests.readme

A server is started where the README starts one, waited for, and told to stop at the end. The clone
is of the last commit, without anything installed; pip's variables say where packages come from.
`--without PATTERN` leaves out commands that match, and says so.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
_SERVER = re.compile(r"make serve\b")
_READY_SECONDS = 1800.0


def commands(text: str) -> list[str]:
    """The commands in a page's `sh` blocks: lines, joined while a quote or a backslash is open."""
    found: list[str] = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        pending = ""
        for line in block.splitlines():
            pending = f"{pending}\n{line}" if pending else line
            if pending.count("'") % 2 or pending.endswith("\\"):
                continue
            if pending.strip() and not pending.startswith("#"):
                found.append(pending)
            pending = ""
        assert not pending, f"a command without an end: {pending}"
    return found


def run(folder: Path, port: int, without: list[str]) -> int:
    """Every command in `folder`, the service on `port` in place of 8000; the number of failures."""
    # None of this run's own environment may stand in for what the README says.
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment["UNMEL_PORT"] = str(port)
    told = commands((folder / "README.md").read_text())
    server: subprocess.Popen[bytes] | None = None
    failures = 0
    try:
        for command in told:
            if any(re.search(pattern, command) for pattern in without):
                print(f"left out: {command}", flush=True)
                continue
            print(f"$ {command}", flush=True)
            line = command.replace("localhost:8000", f"localhost:{port}")
            # A refusal must not pass for an answer.
            line = re.sub(r"^curl ", "curl --fail-with-body -sS ", line)
            if _SERVER.match(line):
                server = subprocess.Popen(  # noqa: S602 - the README's own line, as a shell has it
                    line, shell=True, cwd=folder, env=environment, start_new_session=True
                )
                _wait(server, port)
                continue
            done = subprocess.run(  # noqa: S602 - likewise
                line, shell=True, cwd=folder, env=environment, check=False
            )
            print(f"\n= {done.returncode}", flush=True)
            failures += done.returncode != 0
        for name in re.findall(r"-o (\S+)", "\n".join(told)):
            size = (folder / name).stat().st_size if (folder / name).exists() else 0
            print(f"{name}: {size} bytes", flush=True)
            failures += size == 0
    finally:
        if server is not None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)
    return failures


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://localhost:{port}/readyz", timeout=5)
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise SystemExit("the service did not become ready")


def main() -> int:
    """Clone, run, say what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", action="append", default=[], metavar="PATTERN")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "unmel"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        failures = run(folder, port, options.without)
    print("every command worked" if not failures else f"{failures} failed")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
