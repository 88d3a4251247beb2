"""A mel accepted for a config with all its warnings, or refused with the presets it would fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.layout import Layout
from unmel.models.mel.mismatch import value_warnings
from unmel.models.mel.suggest import presets_that_fit
from unmel.models.mel.validate import Checked, check_mel


def accept_mel(config: MelConfig, mel: NDArray[Any], layout: Layout = "auto") -> Checked:
    """Check a whole mel; parameters as of `check_mel`.

    Returns
    -------
    Checked
        The values `[T, K]`, and warnings about shape and values.

    Raises
    ------
    Invalid
        The array is no mel of the config; `fits` has the presets that it would fit.
    """
    try:
        checked = check_mel(config, mel, layout)
    except Invalid as error:
        error.fits = presets_that_fit(config, mel, layout)
        raise
    return replace(checked, warnings=checked.warnings + value_warnings(config, checked.values))
