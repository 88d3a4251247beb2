"""Requests of the Open Inference Protocol to checked work: a body, and a batch of mels.

Reference: https://github.com/kserve/open-inference-protocol,
specification/protocol/inference_rest.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.models.mel import MelConfig, Preset, likelier_layout
from unmel.service.ops.settings import Settings
from unmel.service.wire.infer_head import InferRequest
from unmel.service.wire.requests import make_reconstruct_request, read_options
from unmel.service.wire.schemas import ReconstructOptions
from unmel.service.wire.tensors import given_tensors, list_of, parse_head

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_BATCH = 256
"""Mels of a batch: each is a request in the queue, however few frames it has."""
_MAX_DIGITS = 18


def read_infer_request(
    data: bytes, length: str | None, preset: Preset, settings: Settings
) -> InferRequest:
    """Read and check the JSON head and the binary tensors after it.

    Parameters
    ----------
    data
        The body.
    length
        Header `HEADER_LENGTH`: bytes of JSON before the tensors; None where all is JSON.
    preset
        The model.
    settings
        Limits.

    Raises
    ------
    Invalid
        Or a subclass; the request is faulty.

    """
    size = len(data)
    if length is not None:
        # int() refuses thousands of digits, be they zeros.
        digits = length.isascii() and length.isdecimal() and len(length) <= _MAX_DIGITS
        if not digits or int(length) > size:
            raise Unreadable(HEADER_LENGTH, repr(length[:40]), f"at most the body's {size} bytes")
        size = int(length)
    if size > settings.max_json_bytes:
        raise TooLarge("body", f"{size} bytes of JSON", f"at most {settings.max_json_bytes}")
    head = parse_head(data[:size], settings.max_frames)
    tensors = given_tensors(list_of("inputs", head.get("inputs")), memoryview(data)[size:])
    return check_infer_request(InferRequest(head, preset.name, tensors), preset, settings)


def check_infer_request(wanted: InferRequest, preset: Preset, settings: Settings) -> InferRequest:
    """Check the mels of a request and make its clips.

    Parameters
    ----------
    wanted
        The request, without clips.
    preset
        The model.
    settings
        Limits.

    Raises
    ------
    Invalid
        Or a subclass; the request is faulty, or a mel where the answer has no `errors`, or all.

    """
    mels, config = wanted.mels, preset.config
    if mels.ndim > 2 and 1 in mels.shape[2:] and config.n_mels not in mels.shape[1:]:
        mels = mels.squeeze(tuple(n for n in range(2, mels.ndim) if mels.shape[n] == 1))
    wanted.batched = mels.ndim > 2
    options = read_options({**wanted.options, "config": preset.name})
    if mels.size > settings.max_frames * config.n_mels:
        shape = "x".join(map(str, mels.shape))
        raise TooLarge("mel", f"shape {shape}", f"at most {settings.max_frames} frames in total")
    batch = mels if wanted.batched else mels[None]
    if not len(batch):
        raise Invalid("mel", "an empty batch", "at least one mel")
    if len(batch) > MAX_BATCH:
        raise TooLarge("mel", f"a batch of {len(batch)} mels", f"at most {MAX_BATCH}")
    each = [(mel, options) for mel in batch]
    if wanted.lengths is not None:
        each = _cut(batch, options, wanted.lengths)
    for mel, own in each:
        try:
            if isinstance(mel, Invalid):
                raise mel
            wanted.clips.append(make_reconstruct_request(mel, None, own, "pcm_f32", settings))
        except Invalid as error:
            if not wanted.partial:
                raise
            wanted.clips.append(error)
    if not wanted.good:
        raise next(clip for clip in wanted.clips if isinstance(clip, Exception))
    del wanted.mels  # the clips have copies
    return wanted


def _cut(
    batch: NDArray[Any], options: ReconstructOptions, lengths: NDArray[Any]
) -> list[tuple[NDArray[Any] | Invalid, ReconstructOptions]]:
    """Each mel of a filled-up batch without its filling, or what is wrong with its length.

    The axis of the frames is that of the batch: a mel that is cut may be square by chance.
    """
    if batch.ndim != 3 or len(lengths) != len(batch):
        got = f"{len(lengths)} for mels of shape {list(batch.shape)}"
        raise Invalid("lengths", got, "one for each mel of [batch, n_mels, frames]")
    config, square = options.config, batch.shape[1] == batch.shape[2]
    axis = _frames_axis(config, batch, options, lengths)
    layout = "frames_first" if axis == 0 else "bands_first"
    known = options.model_copy(update={"layout": layout})
    frames = batch.shape[1 + axis]
    cut: list[tuple[NDArray[Any] | Invalid, ReconstructOptions]] = []
    for number, (mel, length) in enumerate(zip(batch, lengths.tolist(), strict=True)):
        if not 1 <= length <= frames:
            fault = Invalid("lengths", f"{length} for mel {number}", f"1 to {frames}, its frames")
            cut.append((fault, options))
        elif square and length == frames:  # it is judged by itself, as without lengths
            cut.append((mel, options))
        else:
            cut.append((mel[:length] if axis == 0 else mel[:, :length], known))
    return cut


def _frames_axis(
    config: MelConfig, batch: NDArray[Any], options: ReconstructOptions, lengths: NDArray[Any]
) -> int:
    """The axis of the frames in each mel; where the shape does not say, the longest one does."""
    rows, columns = batch.shape[1:]
    if rows != columns:
        return int(rows == config.n_mels)
    layout = options.layout
    if layout == "auto":
        layout = likelier_layout(config, batch[np.argmax(lengths)]) or "bands_first"
    return int(layout == "bands_first")
