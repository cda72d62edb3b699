"""Build a voice: encode recordings into a matching set."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from speechssl import audio
from speechssl.audio import f0_tracker
from speechssl.audio.given import Recordings
from speechssl.checkpoints import names
from speechssl.encoders import fingerprints
from speechssl.errors import InputError
from speechssl.signals import Encoder, Features, Waveform
from speechssl.voices import packaged, pitch, spectrum, tempo
from speechssl.voices.matching_set import MatchingSet, Recording, Reference, join, refuse_copies

if TYPE_CHECKING:
    from torch import Tensor


HIGHEST = 65504.0  # the largest float16


def build(
    recordings: Recordings,
    encoder: Encoder,
    value_encoder: Encoder | None = None,
    *,
    name: str = "",
    keep_silence: bool = True,
    taken: Collection[str] = (),
) -> MatchingSet:
    """The voice of some recordings.

    Args:
        recordings: of one speaker, one or several: paths, waveforms, samples with their rate, clips.
        encoder: makes the keys.
        value_encoder: makes the values; None or the same encoder where the keys are the values.
        name: of the voice.
        keep_silence: whether frames without speech can be retrieved; they are what pauses of the source find.
        taken: names that other recordings of the voice have; none of these gets one of them.
    Raises:
        InputError: no recording, the same one twice, one that cannot be read, holds no speech, or is too short.
    """
    recordings = audio.recordings(recordings)
    if not recordings:
        raise InputError("no reference recordings; give at least one of the target speaker")
    labels = _labels(recordings, taken)
    digests = [audio.checksum(recording) for recording in recordings]
    refuse_copies(list(zip(labels, digests, strict=True)))
    parts = [
        _one(recording, label, digest, encoder, value_encoder or encoder, keep_silence)
        for recording, label, digest in zip(recordings, labels, digests, strict=True)
    ]
    return dataclasses.replace(join(parts), name=name, key_encoder=fingerprints.remembered(encoder))


def _one(
    recording: Recording, label: str, digest: str, encoder: Encoder, value_encoder: Encoder, keep_silence: bool
) -> MatchingSet:
    """The voice of one recording, without the echo of its room."""
    import torch

    from speechssl.audio.reverberation import dry

    if keep_silence and (ready := packaged.find(digest, encoder, value_encoder)) is not None:
        return dataclasses.replace(ready, references=(dataclasses.replace(ready.references[0], name=label),))
    waveform = dry(audio.audible(heard(recording, encoder))[0])
    try:
        active = audio.speech_activity(waveform)
        if not bool(active.any()):
            raise InputError("it holds no speech; a recording of the target speaker talking needed")
        if (levels := spectrum.measure(waveform)) is None:
            raise InputError("it is shorter than 32 ms; a longer recording needed")
        keys, values, contour = encode(waveform, encoder, value_encoder)
    except InputError as error:
        raise InputError(f"reference {label}: {error}") from error
    kept = torch.arange(len(keys)) if keep_silence else _spoken(active, keys)
    all_keys = _half(keys, label)
    stored = all_keys[kept]
    reference = Reference(
        label,
        digest,
        waveform.seconds,
        pitch.statistics(contour),
        levels,
        tempo.measure(all_keys, active, keys.frame_rate),
    )
    return MatchingSet(
        keys=stored,
        values=stored if values is keys else _half(values, label)[kept],
        key_origin=keys.origin,
        value_origin=values.origin,
        frame_rate=keys.frame_rate,
        references=(reference,),
        file_index=torch.zeros(len(kept), dtype=torch.int32),
        frame_index=kept.int(),
        f0=pitch.of_frames(contour, len(keys), keys.frame_rate)[kept].half(),
    )


def heard(recording: Recording, encoder: Encoder) -> Waveform:
    """The recording at the encoder's sample rate, whether file or waveform."""
    if isinstance(recording, Waveform):
        return audio.resample(recording, encoder.sample_rate)
    return audio.read_mono(recording, encoder.sample_rate)


def encode(waveform: Waveform, encoder: Encoder, value_encoder: Encoder) -> tuple[Features, Features, Tensor]:
    """Keys, values (the same object if the encoder is) and F0 of a waveform.

    Raises:
        InputError: too short for a frame, or encoders whose frames do not go together.
    """
    keys, contour = keys_and_f0(waveform, encoder)
    if value_encoder is encoder:
        return keys, keys, contour
    return keys, encode_values(waveform, value_encoder, keys, contour), contour


def keys_and_f0(waveform: Waveform, encoder: Encoder) -> tuple[Features, Tensor]:
    """Keys of a waveform and, measured in a thread beside them, its F0; after Ctrl-C nobody waits for it."""
    over = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as beside:
        contour = beside.submit(f0_of, waveform, over)
        try:
            return encoder.encode(waveform), contour.result()
        finally:
            over.set()


def encode_values(waveform: Waveform, value_encoder: Encoder, keys: Features, contour: Tensor) -> Features:
    """Values of a waveform, one for each of its keys."""
    values = value_encoder.encode(waveform, f0=contour)
    if len(keys) != len(values) or keys.frame_rate != values.frame_rate:
        raise InputError(
            f"{keys.origin} gives {len(keys)} frames at {keys.frame_rate} Hz, {values.origin} {len(values)} at "
            f"{values.frame_rate} Hz; keys and values frame by frame needed: choose encoders of one frame rate"
        )
    return values


def f0_of(waveform: Waveform, over: threading.Event) -> Tensor:
    """(F,) Hz every 5 ms, 0 where unvoiced; cut short once ``over`` is set."""
    import torch

    blocks = f0_tracker.f0_blocks(waveform, pitch.FRAME_PERIOD)
    return torch.cat(list(itertools.takewhile(lambda _: not over.is_set(), blocks)))


def _spoken(active: Tensor, keys: Features) -> Tensor:
    """Frames (n,) during which there is speech; ``active`` is per 10 ms."""
    import torch

    seconds = (torch.arange(len(keys)).double() + 0.5) / keys.frame_rate
    kept = active[(seconds * 100).long().clamp(max=len(active) - 1)].nonzero().flatten()
    return kept if len(kept) else torch.arange(len(keys))


def _half(features: Features, label: str) -> Tensor:
    peak = float(features.frames.abs().max())
    if peak > HIGHEST:
        raise InputError(
            f"reference {label}: {features.origin} gives numbers up to {peak:.3g}, more than float16 holds; "
            "use another layer or encoder"
        )
    return features.frames.detach().cpu().half()


def _labels(recordings: Sequence[Recording], taken: Collection[str]) -> list[str]:
    """A name for each recording, which people tell from the others and from those taken."""
    paths = [one for one in recordings if not isinstance(one, Waveform)]
    files = map(names.visible, audio.told_apart(paths, taken))
    numbers = (name for number in itertools.count(1) if (name := f"waveform {number}") not in taken)
    return [next(numbers if isinstance(one, Waveform) else files) for one in recordings]
