"""What a call of an engine sets for its thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from unmel.models.engine.turn import turn


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_host_computes_on_one_torch_thread_beside_any_device(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with turn(torch.device(device)):
        assert torch.get_num_threads() == 1
