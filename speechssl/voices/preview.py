"""How a stored voice sounds: its file holds no recording, so its first frames are spoken again by a vocoder."""

from __future__ import annotations

import torch

from speechssl.signals import Features, Vocoder, Waveform, check_same_origin
from speechssl.voices.matching_set import MatchingSet

SECONDS = 6.0


def preview(voice: MatchingSet, vocoder: Vocoder) -> Waveform:
    """The first words of a voice, from its first voiced frame on.

    Args:
        voice: with its frames.
        vocoder: of its values.
    Raises:
        InputError: a vocoder of other values.
    """
    check_same_origin(voice.value_origin, vocoder.origin, what="hear this voice")
    voiced = (voice.f0 > 0).any(1).nonzero()
    begin = int(voiced[0]) if len(voiced) else 0
    end = begin + max(1, round(SECONDS * voice.frame_rate))
    frames, keys = (part[begin:end].float() for part in (voice.values, voice.keys))
    contour = voice.f0[begin:end].float().flatten()
    return vocoder.vocode(
        Features(frames, voice.frame_rate, voice.value_origin),
        # a contour begins at sample 0, which lies before the first value of the first frame
        f0=torch.cat([contour[:1], contour]) if vocoder.needs_f0 else None,
        keys=Features(keys, voice.frame_rate, voice.key_origin) if vocoder.key_origin else None,
    )
