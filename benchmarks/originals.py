"""Every named method over HTTP for five presets, beside the originals that can be run here."""

from __future__ import annotations

from benchmarks.bench import Bench, Options
from benchmarks.peers import load_torchaudio
from models.errors import Invalid
from models.inversion import INVERSIONS
from models.joint import JOINT
from models.phase import PHASES
from models.presets import PRESETS
from models.start import STARTS, check_start

FIVE = ("hifigan-22k", "tacotron2-22k", "speecht5-16k", "whisper-80", "librosa")
N_ITER = 32


def _named() -> list[tuple[str, Options]]:
    """A request for each name of each table; stages that are not the point are plain ones."""
    rows: list[tuple[str, Options]] = [(f"{name}", {"method": name}) for name in JOINT]
    rows += [(f"{name} + griffin_lim", {"inversion": name}) for name in INVERSIONS]
    rows += [
        (f"pinv + {name}", {"inversion": "pinv", "phase": name})
        for name in PHASES
        if name != "griffin_lim"
    ]
    rows += [
        (f"pinv + {name} start", {"inversion": "pinv", "start": name})
        for name in STARTS
        if name != "random"
    ]
    return rows


def _allows(preset: str, options: Options) -> bool:
    try:
        check_start(str(options.get("start", "random")), PRESETS[preset].config)
    except Invalid:
        return False
    return True


def originals_part(bench: Bench) -> None:
    """PESQ of each name at 32 iterations; librosa's and torchaudio's own code in the last rows."""
    print(f"\nEvery name over HTTP, {N_ITER} iterations, {len(bench.clips)} clips: PESQ-WB\n")
    print(f"| method | {' | '.join(FIVE)} |")
    print("|---|" + "---|" * len(FIVE))
    for name, options in _named():
        cells = [
            f"{bench.unmel('', preset, {**options, 'n_iter': N_ITER}).score.pesq:.2f}"
            if _allows(preset, options)
            else "refused"
            for preset in FIVE
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    cells = [f"{bench.librosa(preset, N_ITER).score.pesq:.2f}" for preset in FIVE]
    print(f"| *librosa mel_to_audio* | {' | '.join(cells)} |", flush=True)
    if load_torchaudio() is None:
        print("\ntorchaudio is not loadable here: its own InverseMelScale and GriffinLim not run")
        return
    cells = [f"{bench.torchaudio(preset, N_ITER).score.pesq:.2f}" for preset in FIVE]
    print(f"| *torchaudio InverseMelScale + GriffinLim* | {' | '.join(cells)} |")
