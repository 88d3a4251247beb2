"""The tests of pure policy, and the modules that they need, load no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.root import ROOT

MODULES = (
    "tests.conftest",
    "tests.service.conftest",
    "tests.service.cluster.test_front",
    "tests.service.cluster.test_gather",
    "tests.service.ops.test_cores",
    "tests.service.ops.test_keys",
    "tests.service.ops.test_limits",
    "tests.service.ops.test_logs",
    "tests.service.queue.test_admission",
    "tests.service.queue.test_batching",
    "tests.service.queue.test_estimates",
    "tests.service.queue.test_overload",
    "tests.service.wire.test_codecs",
    "tests.service.wire.test_formats",
    "tests.service.wire.test_problems",
    "unmel",
    "unmel.models.errors",
    "unmel.service.cli.main",
    "unmel.service.cli.paths",
    "unmel.service.cluster.front",
    "unmel.service.cluster.routing",
    "unmel.service.ops.metrics",
    "unmel.service.ops.settings",
    "unmel.service.ops.tracing",
    "unmel.service.queue.lanes",
    "unmel.service.queue.progress",
    "unmel.service.server",
    "unmel.service.wire.arrays",
    "unmel.service.wire.bodies",
    "unmel.service.wire.filterbanks",
    "unmel.service.wire.writers",
)


@pytest.mark.process
def test_modules_that_decide_without_an_engine_load_no_torch() -> None:
    code = f"""
import importlib, sys
for name in {MODULES}:
    importlib.import_module(name)
    assert "torch" not in sys.modules, name
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
