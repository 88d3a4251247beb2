"""Items in, results out: packs by memory, long clips in blocks, streams."""

from unmel.models.engine.analysis import Analysis
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item, Output
from unmel.models.engine.shared_engines import run_on_threads, shared
from unmel.models.engine.stream_warnings import JUDGED_FRAMES
from unmel.models.engine.streams import DEFAULT_LOOKAHEAD, MAX_LOOKAHEAD, Options
from unmel.models.engine.work import Result, Work
from unmel.models.signal.plan import CacheStats

__all__ = [
    "DEFAULT_LOOKAHEAD",
    "JUDGED_FRAMES",
    "MAX_LOOKAHEAD",
    "Analysis",
    "CacheStats",
    "Engine",
    "Item",
    "Options",
    "Output",
    "Result",
    "Work",
    "run_on_threads",
    "shared",
]
