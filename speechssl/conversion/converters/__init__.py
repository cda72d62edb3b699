"""The table of converters: ways from the frames of a source to values of a voice.

A converter is one row of ``TABLE`` and one function from ``means.Candidates`` to frames (N, V) float32 and their
``means.Trace``. Importing the table does not import PyTorch, which the functions need.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from speechssl.conversion.converters.means import Candidates, Trace

    Combine: TypeAlias = Callable[[Candidates], tuple[Tensor, Trace]]

__all__ = ["AUTO", "NAMES", "TABLE", "Converter", "choose"]

SHORT = 30.0  # seconds of reference; with less, users of kNN-VC and its authors find too few neighbours
CHOICE = 16  # neighbours per frame that the best path may choose from
SHIFT_K = 16  # fewer bring back wrong words, more leave more of the source's voice: recipes/voice_conversion/RESULTS.md


@dataclass(frozen=True)
class Converter:
    """One way to make frames of a voice.

    Args:
        name: what ``--converter`` takes.
        function: makes the frames, as ``module.function`` of this package.
        help: one sentence or two for people who choose.
        default_k: neighbours that are averaged if nobody says how many; 4 as in kNN-VC.
        least: neighbours that are retrieved even if k is smaller and the voice has as many frames.
        needs_source_values: whether it moves the source's own values.
        widened: whether the frames get back the spread that averaging takes away, and the result the long-term
            spectrum of the voice.
        in_runs: whether it takes one frame at a time, in runs as the voice spoke them.
        own_prosody: whether the result has the pitch of the frames taken and, by default, a speaking rate half way to
            that of the voice.
        streams: whether a frame depends on nothing far away, so that a recording can be converted piece by piece.
    """

    name: str
    function: str
    help: str
    default_k: int = 4
    least: int = 1
    needs_source_values: bool = False
    widened: bool = False
    in_runs: bool = False
    own_prosody: bool = False
    streams: bool = False

    @property
    def combine(self) -> Combine:
        """The function."""
        module, name = self.function.split(".")
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)

    def neighbours(self, k: int | None) -> int:
        """How many neighbours are averaged: k, or the converter's own number if k is None."""
        return self.default_k if k is None else k


_ROWS = (
    Converter(
        "uniform", "means.uniform", "The plain mean of the k nearest frames, as in kNN-VC.", streams=True
    ),
    Converter(
        "distance", "means.distance", "A mean in which nearer frames count more, as in kNN-TTS.", streams=True
    ),
    # 3 is nearer to the voice than 4, with as many words: recipes/voice_conversion/RESULTS.md
    Converter(
        "variance", "means.uniform",
        "The plain mean, with the spread that averaging takes away and the long-term spectrum of the voice.",
        default_k=3, widened=True, streams=True,
    ),
    Converter(
        "regression", "regression.regressed",
        "As variance, but where the nearest frames are far, most of a frame is what is predicted from the whole voice.",
        default_k=3, widened=True, streams=True,
    ),
    Converter(
        "continuous", "runs.continuous",
        "Single frames in runs, as the voice spoke them, mixed with the mean of the k nearest.",
        least=CHOICE, widened=True, in_runs=True,
    ),
    Converter(
        "selection", "runs.selection",
        "Sounds most like the voice but is less intelligible: copies runs of single frames, with their own keys and "
        "pitch, half way to the speaking rate of the voice.",
        least=CHOICE, widened=True, in_runs=True, own_prosody=True,
    ),
    Converter(
        "transport", "transport.transported",
        "The source's own frames, moved to the mean and covariance of the voice (MKL-VC); safe with short references.",
        needs_source_values=True,
    ),
    Converter(
        "shift", "shift.shifted",
        "The source's own frames, each moved by the difference between the two speakers around it; keeps detail.",
        least=SHIFT_K, needs_source_values=True,
    ),
)  # fmt: skip
TABLE = {row.name: row for row in _ROWS}
NAMES = tuple(TABLE)
AUTO = "Chooses by the vocoder and the length of the reference; with the model tiny it is regression."


def choose(seconds: float, *, has_source_values: bool, speaks_means: bool, hears_keys: bool = False) -> tuple[str, str]:
    """The name of the converter that ``auto`` stands for, and why.

    Args:
        seconds: length of the reference.
        has_source_values: whether the source was encoded with its own values.
        speaks_means: whether the vocoder was trained to speak means of frames, as those of kNN-VC are. A vocoder that
            only inverts its analysis, such as WORLD, blurs them.
        hears_keys: whether the vocoder takes the source's keys too, as the packaged one does.
    """
    # half a second must not read as none
    length = f"{round(seconds, 1) if seconds < 10 else round(seconds):g} s of reference"
    if hears_keys:
        return "regression", f"{length}, and a vocoder that hears the words beside the frames"
    if has_source_values and not speaks_means:
        return "shift", f"{length}, and a vocoder that blurs plain means: detail is kept"
    if seconds >= SHORT:
        return "uniform", f"{length}: neighbours enough for plain means (from {SHORT:.0f} s)"
    if has_source_values:
        return "transport", f"only {length} (below {SHORT:.0f} s): its statistics are safer than its frames"
    return "distance", f"only {length}, and no values of the source to transport: near frames count more"
