"""With and without retrieval, on random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from speechssl.synthesis.synthesizer import Synthesizer

RECIPE = "ssl_tts"
Recipe = Callable[[str], ModuleType]


def test_retrieved_frames_are_livelier_than_those_of_least_squares(
    recipe: Recipe, synthesizer: Synthesizer, speech: dict[str, Path]
) -> None:
    smoothing, heard = recipe("smoothing"), []
    row = {"text": "A cat sat on the mat.", "path": str(speech["other"])}
    ratios = smoothing.compare(synthesizer, [row], lambda arm, number, sound: heard.append((arm, sound.seconds)))
    assert [arm for arm, _ in heard] == ["retrieved", "direct", "recording"]
    assert heard[0][1] == heard[1][1] > 0.3
    # means of four frames, one of them its own: less than it, more than what a linear map sees
    assert ratios["direct"]["values"] < ratios["recording"]["values"] < 1
    assert ratios["retrieved"]["values"] > ratios["direct"]["values"]
