"""Mel configurations: scales, filterbanks, presets, and whether an array is a mel of one."""

from unmel.models.mel.accept import accept_mel
from unmel.models.mel.blur import BLURRED
from unmel.models.mel.config import MelConfig
from unmel.models.mel.layout import Layout, likelier_layout
from unmel.models.mel.members import Members
from unmel.models.mel.mismatch import value_warnings
from unmel.models.mel.own_filterbank import OwnFilterbank
from unmel.models.mel.preset_row import Preset
from unmel.models.mel.presets import PRESETS, preset
from unmel.models.mel.suggest import presets_that_fit
from unmel.models.mel.synonyms import CONFIG_SYNONYMS
from unmel.models.mel.validate import Checked, check_mel, check_phases

__all__ = [
    "BLURRED",
    "CONFIG_SYNONYMS",
    "PRESETS",
    "Checked",
    "Layout",
    "MelConfig",
    "Members",
    "OwnFilterbank",
    "Preset",
    "accept_mel",
    "check_mel",
    "check_phases",
    "likelier_layout",
    "preset",
    "presets_that_fit",
    "value_warnings",
]
