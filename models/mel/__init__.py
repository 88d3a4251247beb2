"""Mel configurations: scales, filterbanks, presets, and whether an array is a mel of one."""

from unmel.models.mel.config import MelConfig
from unmel.models.mel.own_filterbank import OwnFilterbank
from unmel.models.mel.presets import PRESETS, Preset, preset
from unmel.models.mel.suggest import presets_that_fit
from unmel.models.mel.validate import Checked, Layout, check_mel, check_phases

__all__ = [
    "PRESETS",
    "Checked",
    "Layout",
    "MelConfig",
    "OwnFilterbank",
    "Preset",
    "check_mel",
    "check_phases",
    "preset",
    "presets_that_fit",
]
