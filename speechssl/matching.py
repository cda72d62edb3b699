"""A voice: every frame of its references, with keys to search by, values to speak with, and where each is from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from speechssl import fingerprints, pitch, spectrum, tempo
from speechssl.consent import Consent
from speechssl.errors import InputError
from speechssl.pitch import PitchStatistics
from speechssl.signals import Features, Waveform, check_same_origin
from speechssl.spectrum import Spectrum
from speechssl.tempo import Tempo

if TYPE_CHECKING:
    from torch import Tensor

    from speechssl.interfaces import Encoder

Recording: TypeAlias = "str | Path | Waveform"
Part = TypeVar("Part")

HIGHEST = 65504.0  # the largest float16


@dataclass(frozen=True)
class Reference:
    """One recording of a voice.

    Args:
        name: of the file, without its folder.
        sha256: of the file, or of the samples of a waveform; 64 hexadecimal digits.
        seconds: duration.
        pitch: its log-F0 statistics.
        spectrum: its long-term average spectrum; None for one stored before it was kept.
        tempo: how fast its keys change; None for one stored before it was kept.
    """

    name: str
    sha256: str
    seconds: float
    pitch: PitchStatistics
    spectrum: Spectrum | None = None
    tempo: Tempo | None = None


@dataclass(frozen=True, eq=False)
class MatchingSet:
    """All frames of the references of one voice.

    Keys and values are float16, in memory as on disk, so that a stored voice is the voice: numbers are off by up to
    2^-11 (0.05 %) of themselves, or 3e-8 for those below 6e-5.

    Args:
        keys: (M, Dk) float16, searched by cosine distance; may be mapped from a file.
        values: (M, Dv) float16, what is vocoded; the same object as the keys where one encoder makes both.
        key_origin: of the keys, e.g. ``"wavlm-large/6"``.
        value_origin: of the values.
        frame_rate: Hz.
        references: the recordings.
        file_index: (M,) int32 the reference each frame is from, ascending.
        frame_index: (M,) int32 its number among the frames of that recording, ascending within it.
        name: of the voice; empty until it is stored.
        key_encoder: fingerprint of the weights that made the keys; empty if unknown.
        consents: who attested that the recordings may be used, if anybody did.
        f0: (M, n) float16 Hz, every 5 ms from the frame's start on, 0 where unvoiced; None for a voice stored before it
            was kept.
    Raises:
        InputError: parts that do not belong together.
    """

    keys: Tensor
    values: Tensor
    key_origin: str
    value_origin: str
    frame_rate: float
    references: tuple[Reference, ...]
    file_index: Tensor
    frame_index: Tensor
    name: str = ""
    consents: tuple[Consent, ...] = ()
    key_encoder: str = ""
    f0: Tensor | None = None

    def __post_init__(self) -> None:
        parts = (self.keys, self.values, self.file_index, self.frame_index, *([] if self.f0 is None else [self.f0]))
        lengths = [len(part) for part in parts]
        if len(set(lengths)) != 1 or lengths[0] == 0 or self.keys.ndim != 2 or self.values.ndim != 2:
            raise InputError(
                f"a voice of {lengths} keys, values, files and places; as many of each, at least 1, needed"
            )
        if not self.references or not 0 <= int(self.file_index.min()) <= int(self.file_index.max()) < len(
            self.references
        ):
            raise InputError(f"a voice whose frames are not all from its {len(self.references)} references")
        if not self.frame_rate > 0 or not self.key_origin or not self.value_origin:
            raise InputError("a voice without frame rate or origins")

    def __len__(self) -> int:
        return int(self.keys.shape[0])

    @property
    def seconds(self) -> float:
        """Duration of the references together."""
        return sum(reference.seconds for reference in self.references)

    @property
    def pitch(self) -> PitchStatistics:
        """Log-F0 statistics over all references."""
        return pitch.pool([reference.pitch for reference in self.references])

    @property
    def spectrum(self) -> Spectrum | None:
        """Long-term average spectrum over all references; None if one of them was stored without."""
        known = complete(reference.spectrum for reference in self.references)
        return None if known is None else spectrum.pool(known)

    @property
    def tempo(self) -> Tempo | None:
        """How fast keys change over all references; None if one of them was stored without."""
        known = complete(reference.tempo for reference in self.references)
        return None if known is None else tempo.pool(known)

    @property
    def has_own_values(self) -> bool:
        """Whether the values are not simply the keys."""
        return self.values is not self.keys

    def times(self, indices: Tensor) -> Tensor:
        """Second, in its recording, at which each of the frames begins; float64, of the shape of ``indices``."""
        return self.frame_index[indices].double() / self.frame_rate

    def follows(self) -> Tensor:
        """(M,) bool: whether frame i + 1 is the one after frame i in the same recording."""
        import torch

        together = (self.file_index.diff() == 0) & (self.frame_index.diff() == 1)
        return torch.cat([together, torch.zeros(1, dtype=torch.bool)])

    def named(self, name: str) -> MatchingSet:
        """The same voice under a name."""
        return dataclasses.replace(self, name=name)

    def with_consent(self, consent: Consent) -> MatchingSet:
        """The same voice with one more attestation."""
        return dataclasses.replace(self, consents=(*self.consents, consent))

    def without(self, reference: str) -> MatchingSet:
        """The voice without one recording.

        Args:
            reference: its name, or the beginning of its sha256 (8 digits or more).
        Raises:
            InputError: none or several recordings are meant, or it is the only one.
        """
        position = self._position(reference)
        if len(self.references) == 1:
            raise InputError(
                f"{reference!r} is the only reference of the voice {self.name!r}; remove the voice instead"
            )
        kept = self.file_index != position
        keys = self.keys[kept]
        files = self.file_index[kept]
        return dataclasses.replace(
            self,
            keys=keys,
            values=self.values[kept] if self.has_own_values else keys,
            references=self.references[:position] + self.references[position + 1 :],
            file_index=files - (files > position).int(),
            frame_index=self.frame_index[kept],
            f0=None if self.f0 is None else self.f0[kept],
        )

    def _position(self, reference: str) -> int:
        found = [
            i
            for i, one in enumerate(self.references)
            if one.name == reference or (len(reference) >= 8 and one.sha256.startswith(reference.lower()))
        ]
        if len(found) != 1:
            names = ", ".join(f"{one.name} ({one.sha256[:8]})" for one in self.references)
            raise InputError(
                f"{len(found) or 'no'} references of the voice {self.name!r} match {reference!r}; it has {names}: "
                "give one name, or the beginning of one checksum"
            )
        return found[0]


def complete(parts: Iterable[Part | None]) -> list[Part] | None:
    """All parts, or None if one of them is missing."""
    known: list[Part] = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return known


def join(sets: Sequence[MatchingSet]) -> MatchingSet:
    """One voice of the recordings of several, in order; its name is that of the first.

    Raises:
        InputError: other origins or frame rates, or a recording that is in two of them.
    """
    import torch

    first = sets[0]
    for other in sets[1:]:
        check_same_origin(first.key_origin, other.key_origin, what="join voices")
        check_same_origin(first.value_origin, other.value_origin, what="join the values of voices")
        fingerprints.check_same_weights(first.key_encoder, other.key_encoder, first.key_origin, what="join voices")
    references = tuple(reference for one in sets for reference in one.references)
    _refuse_copies([(reference.name, reference.sha256) for reference in references])
    starts = [sum(len(before.references) for before in sets[:i]) for i in range(len(sets))]
    keys = torch.cat([one.keys for one in sets])
    contours = complete(one.f0 for one in sets)
    return dataclasses.replace(
        first,
        keys=keys,
        values=torch.cat([one.values for one in sets]) if any(one.has_own_values for one in sets) else keys,
        references=references,
        consents=tuple(consent for one in sets for consent in one.consents),
        file_index=torch.cat([one.file_index + start for one, start in zip(sets, starts, strict=True)]),
        frame_index=torch.cat([one.frame_index for one in sets]),
        f0=None if contours is None else torch.cat(contours),
    )


def build(
    recordings: Sequence[Recording],
    encoder: Encoder,
    value_encoder: Encoder | None = None,
    *,
    name: str = "",
    keep_silence: bool = True,
) -> MatchingSet:
    """The voice of some recordings.

    Args:
        recordings: files or waveforms of one speaker, >= 1.
        encoder: makes the keys.
        value_encoder: makes the values; None or the same encoder where the keys are the values.
        name: of the voice.
        keep_silence: whether frames without speech can be retrieved; they are what pauses of the source find.
    Raises:
        InputError: no recording, the same one twice, one that cannot be read, holds no speech, or is too short.
    """
    if not recordings:
        raise InputError("no reference recordings; give at least one of the target speaker")
    labels = [_label(recording, number) for number, recording in enumerate(recordings, start=1)]
    digests = [checksum(recording) for recording in recordings]
    _refuse_copies(list(zip(labels, digests, strict=True)))
    parts = [
        _one(recording, label, encoder, value_encoder or encoder, keep_silence)
        for recording, label in zip(recordings, labels, strict=True)
    ]
    references = tuple(
        dataclasses.replace(part.references[0], sha256=digest) for part, digest in zip(parts, digests, strict=True)
    )
    weights = fingerprints.remembered(encoder)
    return dataclasses.replace(join(parts), name=name, references=references, key_encoder=weights)


def _one(recording: Recording, label: str, encoder: Encoder, value_encoder: Encoder, keep_silence: bool) -> MatchingSet:
    """The voice of one recording, still without its checksum."""
    import torch

    from speechssl import audio

    waveform = heard(recording, encoder)
    try:
        active = audio.speech_activity(waveform)
        if not bool(active.any()):
            raise InputError("it holds no speech; a recording of the target speaker talking needed")
        keys, values, contour = encode(waveform, encoder, value_encoder)
    except InputError as error:
        raise InputError(f"reference {label}: {error}") from error
    kept = torch.arange(len(keys)) if keep_silence else _spoken(active, keys)
    all_keys = _half(keys, label)
    stored = all_keys[kept]
    reference = Reference(
        label,
        label,
        waveform.seconds,
        pitch.statistics(contour),
        spectrum.measure(waveform),
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
    from speechssl import audio

    if isinstance(recording, Waveform):
        return audio.resample(recording, encoder.sample_rate)
    return audio.read_mono(recording, encoder.sample_rate)


def encode(waveform: Waveform, encoder: Encoder, value_encoder: Encoder) -> tuple[Features, Features, Tensor]:
    """Keys, values (the same object if the encoder is) and F0 of a waveform.

    Raises:
        InputError: too short for a frame, or encoders whose frames do not go together.
    """
    contour = f0_of(waveform)
    keys = encoder.encode(waveform)
    if value_encoder is encoder:
        return keys, keys, contour
    return keys, encode_values(waveform, value_encoder, keys, contour), contour


def encode_values(waveform: Waveform, value_encoder: Encoder, keys: Features, contour: Tensor) -> Features:
    """Values of a waveform, one for each of its keys."""
    from speechssl.vocoders.world import WorldAnalysis

    if isinstance(value_encoder, WorldAnalysis):
        # it would measure F0 once more
        values = value_encoder.encode(waveform, f0=contour)
    else:
        values = value_encoder.encode(waveform)
    if len(keys) != len(values) or keys.frame_rate != values.frame_rate:
        raise InputError(
            f"{keys.origin} gives {len(keys)} frames at {keys.frame_rate} Hz, {values.origin} {len(values)} at "
            f"{values.frame_rate} Hz; keys and values frame by frame needed: choose encoders of one frame rate"
        )
    return values


def f0_of(waveform: Waveform) -> Tensor:
    """(F,) Hz every 5 ms, 0 where unvoiced."""
    from speechssl import audio

    return audio.f0(waveform, frame_period=pitch.FRAME_PERIOD)


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


def _label(recording: Recording, number: int) -> str:
    return f"waveform {number}" if isinstance(recording, Waveform) else Path(recording).name


def checksum(recording: Recording) -> str:
    """SHA-256 of a file's bytes, or of a waveform's rate and samples, in hexadecimal digits.

    Raises:
        InputError: a file that cannot be read.
    """
    if isinstance(recording, Waveform):
        samples = recording.samples.detach().cpu().contiguous().numpy()
        return hashlib.sha256(f"{recording.sample_rate} Hz\n".encode() + samples.tobytes()).hexdigest()
    digest = hashlib.sha256()
    try:
        with Path(recording).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"cannot read the reference {recording}: {error.strerror}; check the path") from error
    return digest.hexdigest()


def _refuse_copies(recordings: Sequence[tuple[str, str]]) -> None:
    """Names and checksums in which no checksum may come twice."""
    seen: dict[str, str] = {}
    for name, sha256 in recordings:
        if sha256 in seen:
            raise InputError(f"references {seen[sha256]} and {name} are the same recording; give it once")
        seen[sha256] = name
