"""The blocks of docs/protocol.md run, one after the other, as a reader would type them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.root import ROOT
from tests.service.asking import MEL
from tests.service.engines import TestEngine
from tests.service.rpc.asking import live_rpc
from unmel.models.engine.engine import Engine

pytestmark = pytest.mark.loops

PAGE = (ROOT / "docs" / "protocol.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


class Computing(TestEngine):
    """Computes, at once."""

    def run(self, items: Any) -> Any:
        return Engine.run(self, items)


def test_the_pages_blocks_run_and_give_what_they_say() -> None:
    played: list[np.ndarray] = []
    names: dict[str, Any] = {
        "mel": MEL,
        "mels": [MEL, MEL[:, :11]],
        "chunks": np.array_split(np.ascontiguousarray(MEL.T), 5),
        "play": played.append,
        "np": np,
    }
    with live_rpc(Computing()) as (service, client):
        rpc = client._channel._channel.target().decode().removeprefix("dns:///")
        for block in BLOCKS:
            here = block.replace("localhost:8000", service.url.removeprefix("http://"))
            code = compile(here.replace("localhost:8001", rpc), "docs/protocol.md", "exec")
            exec(code, names)  # noqa: S102 - the page's own
            if "audio = answer" in block:
                assert len(names["audio"]) == MEL.shape[1] * 256
        names["client"].close()
    assert [len(clip) for clip in names["clips"]] == [MEL.shape[1] * 256, 11 * 256]
    assert sum(map(len, played)) == MEL.shape[1] * 256
