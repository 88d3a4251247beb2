"""Results to the answer of the Open Inference Protocol: the tensors audio, samples and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unmel.models.engine import Result
from unmel.service.wire.infer_head import InferRequest
from unmel.service.wire.infer_models import VERSION
from unmel.service.wire.levels import LevelledAudio, apply_levels
from unmel.service.wire.problems import problem_body, status_of
from unmel.service.wire.requests import ReconstructRequest
from unmel.service.wire.tensors import MadeTensor


@dataclass(frozen=True, eq=False)
class InferAnswer:
    """An answer, whatever carries it."""

    model: str
    id: str | None
    parameters: dict[str, int | str]
    tensors: list[MadeTensor]
    version: str = VERSION


def make_infer_answer(wanted: InferRequest, outcomes: Sequence[Result | Exception]) -> InferAnswer:
    """Make the answer to a batch.

    Parameters
    ----------
    wanted
        The request.
    outcomes
        For each of its good clips the result, or what was wrong with it in the computation.

    Returns
    -------
    The audio `[B, L]` of the longest, filled up with zeros, or `[L]` where there is no batch; the
    samples `[B]` of each; and for each an empty text or its problem as JSON, `[B]`.

    """
    each = list(_each(wanted, outcomes))
    made = [one for one in each if not isinstance(one, Exception)]
    if not made or (len(made) < len(each) and not wanted.partial):
        raise next(one for one in each if isinstance(one, Exception))
    sizes = [0 if isinstance(one, Exception) else len(one[0].samples) for one in each]
    audio = np.zeros((len(each), max(sizes)), "<f4")
    for row, size, one in zip(audio, sizes, each, strict=True):
        if not isinstance(one, Exception):
            row[:size] = one[0].samples
    errors = [_described(one) if isinstance(one, Exception) else "" for one in each]
    parameters: dict[str, int | str] = {"sample_rate": made[0][0].sample_rate}
    if warnings := {text for _, texts in made for text in texts}:
        parameters["warnings"] = "; ".join(sorted(warnings))
    tensors = {
        "audio": MadeTensor("audio", "FP32", audio if wanted.batched else audio[0]),
        "samples": MadeTensor("samples", "INT64", np.array(sizes, "<i8")),
        "errors": MadeTensor("errors", "BYTES", np.array(errors, object)),
    }
    return InferAnswer(
        wanted.model, wanted.id, parameters, [tensors[name] for name in wanted.outputs]
    )


_Levelled = tuple[LevelledAudio, tuple[str, ...]]


def _each(
    wanted: InferRequest, outcomes: Sequence[Result | Exception]
) -> Iterator[_Levelled | Exception]:
    """For each clip its audio and warnings, or its fault."""
    following = iter(outcomes)
    for clip in wanted.clips:
        outcome = next(following) if isinstance(clip, ReconstructRequest) else clip
        if isinstance(clip, ReconstructRequest) and isinstance(outcome, Result):
            wave = np.asarray(outcome.values, np.float32)
            rate = clip.item.config.sample_rate
            levelled = apply_levels(wave, rate, clip.levels, bounded=False)
            yield levelled, (*clip.warnings, *outcome.warnings, *levelled.warnings)
        elif isinstance(outcome, Exception):
            yield outcome


def _described(fault: Exception) -> str:
    """A problem as JSON, for the client."""
    return json.dumps(problem_body(fault, status_of(fault)))
