"""The reference answers, made once. One process can hold one cluster: a file each."""

from __future__ import annotations

import pytest

from tests.cluster.jobs import Job, jobs_with_answers


@pytest.fixture(scope="session")
def jobs() -> list[Job]:
    return jobs_with_answers()
