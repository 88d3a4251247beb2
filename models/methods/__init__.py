"""The methods: mel to magnitude, first phases, phase recovery, and mel to waveform at once."""

from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.method import Method
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import (
    DEFAULT_FIT,
    DEFAULT_HARMONICS,
    DEFAULT_INVERSION,
    DEFAULT_METHOD,
    DEFAULT_PHASE,
    DEFAULT_START,
    GIVEN,
    MAX_MOMENTUM,
    Fit,
    Harmonics,
    resolve,
)
from unmel.models.methods.schedule import DEFAULT_QUALITY, QUALITIES, Quality
from unmel.models.methods.start.starts import STARTS, check_start

__all__ = [
    "DEFAULT_FIT",
    "DEFAULT_HARMONICS",
    "DEFAULT_INVERSION",
    "DEFAULT_METHOD",
    "DEFAULT_PHASE",
    "DEFAULT_QUALITY",
    "DEFAULT_START",
    "GIVEN",
    "INVERSIONS",
    "JOINT",
    "MAX_MOMENTUM",
    "PHASES",
    "QUALITIES",
    "STARTS",
    "Fit",
    "Harmonics",
    "Method",
    "Quality",
    "check_start",
    "resolve",
]
