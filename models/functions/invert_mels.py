"""`invert`: a mel, or a list of them as one pack, to samples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.engine import Engine, Item, run_on_threads, shared
from unmel.models.errors import Invalid
from unmel.models.functions.arrays import device_of, host_array, samples_like
from unmel.models.mel import Layout, MelConfig, accept_mel, preset
from unmel.models.methods import (
    DEFAULT_QUALITY,
    DEFAULT_START,
    STARTS,
    Fit,
    Harmonics,
    Quality,
    check_start,
    resolve,
)
from unmel.models.methods.recipe import Recipe, check_choice

Config = str | MelConfig | Mapping[str, Any]
"""A preset's name, a config, or a config's members."""
_SEEDS = 2**63


class Choice(TypedDict, total=False):
    """Options of the method, as those of `POST /reconstruct`."""

    method: str | None
    inversion: str | None
    phase: str | None
    start: str
    n_iter: int | None
    momentum: float | None
    harmonics: Harmonics
    fit: Fit
    params: Mapping[str, float] | None
    inversion_params: Mapping[str, float] | None


@overload
def invert(
    mel: Tensor,
    config: Config = ...,
    quality: Quality = ...,
    seed: int = ...,
    *,
    length: int | None = ...,
    layout: Layout = ...,
    device: str | torch.device | None = ...,
    **choice: Unpack[Choice],
) -> tuple[Tensor, int]: ...
@overload
def invert(
    mel: NDArray[Any],
    config: Config = ...,
    quality: Quality = ...,
    seed: int = ...,
    *,
    length: int | None = ...,
    layout: Layout = ...,
    device: str | torch.device | None = ...,
    **choice: Unpack[Choice],
) -> tuple[NDArray[np.float32], int]: ...
@overload
def invert(
    mel: Sequence[Tensor],
    config: Config = ...,
    quality: Quality = ...,
    seed: int = ...,
    *,
    length: Sequence[int | None] | None = ...,
    layout: Layout = ...,
    device: str | torch.device | None = ...,
    **choice: Unpack[Choice],
) -> tuple[list[Tensor], int]: ...
@overload
def invert(
    mel: Sequence[NDArray[Any]],
    config: Config = ...,
    quality: Quality = ...,
    seed: int = ...,
    *,
    length: Sequence[int | None] | None = ...,
    layout: Layout = ...,
    device: str | torch.device | None = ...,
    **choice: Unpack[Choice],
) -> tuple[list[NDArray[np.float32]], int]: ...
def invert(
    mel: Any,
    config: Config = "hifigan-22k",
    quality: Quality = DEFAULT_QUALITY,
    seed: int = 0,
    *,
    length: int | Sequence[int | None] | None = None,
    layout: Layout = "auto",
    device: str | torch.device | None = None,
    **choice: Unpack[Choice],
) -> tuple[Any, int]:
    """Turn mels into audio.

    A warning is issued for a mel that does not look like one of its config.

    Parameters
    ----------
    mel
        Stored values `[K, T]` (or `[T, K]`, where the shape tells), among any axes of size 1:
        numpy's or torch's. A list or tuple of them, of different lengths, is computed together.
    config
        How the mel was made: a preset's name, a `MelConfig`, or its members as a dict.
    quality
        Amount of computation: `draft`, `standard` or `high`; times are 1 : 5 : 20.
    seed
        Seed of the first phases. A result depends on its mel and the seed alone, not on the
        others of a list.
    length
        Samples `L` of the result, one that has the mel's number of frames; of a list, a list.
    layout
        Order of the mel's axes: `auto`, `bands_first` or `frames_first`.
    device
        Where it is computed: `cpu` or `cuda`. By default a CUDA tensor's own, else the CPU, there
        a list on as many threads as torch has.
    **choice
        `method`, `inversion`, `phase`, `start`, `params`, `inversion_params`, `n_iter`,
        `momentum`, `harmonics` and `fit`, as in `POST /reconstruct`.

    Returns
    -------
    tuple
        Samples `[L]`, full scale at 1: numpy for numpy, a tensor on the mel's device for a tensor,
        a list for a list. And the sample rate, Hz.

    Raises
    ------
    Invalid
        A mel or an option cannot be used; the error says what came and what would do.
    pydantic.ValidationError
        Likewise for the members of a config.

    Examples
    --------
    >>> mel = np.full((80, 100), -11.5, np.float32)
    >>> samples, sample_rate = invert(mel, "hifigan-22k", quality="draft")
    >>> samples.shape, sample_rate
    ((25600,), 22050)
    """
    many = isinstance(mel, list | tuple)
    mels = list(mel) if many else [mel]
    lengths = _lengths(length, len(mels), many=many)
    parsed = config_of(config)
    recipe = recipe_of(parsed, quality, choice)
    engine = shared(device_of(mels[0] if mels else None) if device is None else device)
    made, noted = compute(
        engine,
        [host_array(one) for one in mels],
        parsed,
        recipe,
        seed,
        lengths=lengths,
        layout=layout,
        numbered=many,
    )
    for text in noted:
        warnings.warn(text, stacklevel=2)
    results = [
        samples_like(samples, one) if isinstance(one, Tensor) else samples
        for samples, one in zip(made, mels, strict=True)
    ]
    return results if many else results[0], parsed.sample_rate


def _lengths(length: object, count: int, *, many: bool) -> Sequence[int | None]:
    """A length for each mel; Invalid where there are others."""
    if length is None:
        return [None] * count
    given = list(length) if many and isinstance(length, Sequence) else [length]
    lengths = [one for one in given if one is None or isinstance(one, int)]
    if len(lengths) != len(given) or len(given) != count:
        want = f"a list of {count}, one for each mel" if many else "a number of samples"
        raise Invalid("length", repr(length)[:80], want)
    return lengths


def config_of(config: Config) -> MelConfig:
    """The config of a preset's name, or of a config's members; Invalid for an unknown name."""
    if isinstance(config, str):
        return preset(config).config
    return MelConfig.model_validate(config)


def recipe_of(config: MelConfig, quality: Quality, choice: Choice) -> Recipe:
    """The recipe of options for a config; Invalid for those that do not fit it or each other."""
    check_choice("start", choice.get("start", DEFAULT_START), STARTS)
    recipe = resolve(config.power, octaves=config.octaves, quality=quality, **choice)
    check_start(recipe.start, config)
    return recipe


def compute(
    engine: Engine,
    mels: Sequence[NDArray[Any]],
    config: MelConfig,
    recipe: Recipe,
    seed: int,
    *,
    lengths: Sequence[int | None],
    layout: Layout = "auto",
    numbered: bool = False,
) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Samples of mels of one config, and warnings, each once.

    Parameters
    ----------
    engine
        Computes them.
    mels
        Stored values, each `[K, T]`.
    config
        Their config.
    recipe
        The method.
    seed
        Seed of the first phases of each.
    lengths
        Samples of each; None for the config's default.
    layout
        Order of their axes.
    numbered
        Whether errors and warnings say which of them is meant.

    Raises
    ------
    Invalid
        One of them cannot be used.
    """
    if not 0 <= seed < _SEEDS:
        raise Invalid("seed", str(seed), f"0 to {_SEEDS - 1}")
    items: list[Item] = []
    noted: dict[str, None] = {}
    for k, (mel, length) in enumerate(zip(mels, lengths, strict=True)):
        try:
            checked = accept_mel(config, mel, layout)
            samples = config.length_for(len(checked.values), length)
        except Invalid as error:
            if not numbered:
                raise
            named = Invalid(f"{error.field}[{k}]", error.got, error.expected)
            named.fits = error.fits
            raise named from None
        prefix = f"mel[{k}]: " if numbered else ""
        noted |= dict.fromkeys(prefix + text for text in checked.warnings)
        items.append(Item(checked.values, config, recipe, samples, seed))
    results = run_on_threads(engine, items)
    noted |= dict.fromkeys(text for result in results for text in result.warnings)
    return [np.asarray(result.values, np.float32) for result in results], list(noted)
