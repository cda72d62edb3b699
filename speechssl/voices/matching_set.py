"""A voice in memory: all frames of its references, with keys to search by and values to vocode."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from speechssl.encoders import fingerprints
from speechssl.errors import InputError
from speechssl.signals import Waveform, check_same_origin
from speechssl.voices import pitch, spectrum, tempo
from speechssl.voices.consent import Consent
from speechssl.voices.notes import Notes
from speechssl.voices.pitch import PitchStatistics
from speechssl.voices.spectrum import Spectrum
from speechssl.voices.tempo import Tempo

if TYPE_CHECKING:
    from torch import Tensor


Recording: TypeAlias = "str | Path | Waveform"  # what ``audio.recording`` makes of anything given


@dataclass(frozen=True)
class Reference:
    """One recording of a voice.

    Args:
        name: of the file, with as many folders as tell it from the other recordings of the voice; usually none.
        sha256: of the file, or of the samples of a waveform; 64 hexadecimal digits.
        seconds: duration.
        pitch: its log-F0 statistics.
        spectrum: its long-term average spectrum.
        tempo: how fast its keys change.
    """

    name: str
    sha256: str
    seconds: float
    pitch: PitchStatistics
    spectrum: Spectrum
    tempo: Tempo


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
        f0: (M, n) float16 Hz, every 5 ms from the frame's start on, 0 where unvoiced.
        name: of the voice; empty until it is stored.
        key_encoder: fingerprint of the weights that made the keys; empty if unknown.
        consents: who attested that which recordings may be used, if anybody did.
        notes: description, tags, settings that suit the voice, quality of its recordings.
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
    f0: Tensor
    name: str = ""
    consents: tuple[Consent, ...] = ()
    key_encoder: str = ""
    notes: Notes = dataclasses.field(default_factory=Notes)

    def __post_init__(self) -> None:
        lengths = [len(part) for part in (self.keys, self.values, self.file_index, self.frame_index, self.f0)]
        if len(set(lengths)) != 1 or lengths[0] == 0 or self.keys.ndim != 2 or self.values.ndim != 2:
            raise InputError(
                f"a voice has {lengths} keys, values, files, places and F0; it needs as many of each, at least 1"
            )
        if not self.references or not 0 <= int(self.file_index.min()) <= int(self.file_index.max()) < len(
            self.references
        ):
            raise InputError(f"some frames of a voice are from none of its {len(self.references)} references")
        if not self.frame_rate > 0 or not self.key_origin or not self.value_origin:
            raise InputError("a voice needs a frame rate, a key origin and a value origin")

    def __len__(self) -> int:
        return int(self.keys.shape[0])

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        recordings = "1 recording" if len(self.references) == 1 else f"{len(self.references)} recordings"
        return f"MatchingSet({name}{self.seconds:.1f} s of {recordings}, {len(self)} frames, {self.key_origin})"

    @property
    def seconds(self) -> float:
        """Duration of the references together."""
        return sum(reference.seconds for reference in self.references)

    @property
    def pitch(self) -> PitchStatistics:
        """Log-F0 statistics over all references."""
        return pitch.pool([reference.pitch for reference in self.references])

    @property
    def spectrum(self) -> Spectrum:
        """Long-term average spectrum over all references."""
        return spectrum.pool([reference.spectrum for reference in self.references])

    @property
    def tempo(self) -> Tempo:
        """How fast keys change over all references."""
        return tempo.pool([reference.tempo for reference in self.references])

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

    @property
    def uncovered(self) -> tuple[Reference, ...]:
        """The references that nobody's consent covers."""
        return uncovered(self.references, self.consents)

    def with_consent(self, consent: Consent, references: Sequence[str] = ()) -> MatchingSet:
        """The same voice with one more attestation.

        Args:
            consent: of whoever attests.
            references: names, or beginnings of checksums, of those that it covers; none for all of the voice.
        Raises:
            InputError: no such reference.
        """
        places = [self._position(one) for one in references] or range(len(self.references))
        covering = consent.of(self.references[place].sha256 for place in places)
        return dataclasses.replace(self, consents=(*self.consents, covering))

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
        gone = self.references[position].sha256
        keys = self.keys[kept]
        files = self.file_index[kept]
        return dataclasses.replace(
            self,
            keys=keys,
            values=self.values[kept] if self.has_own_values else keys,
            references=self.references[:position] + self.references[position + 1 :],
            consents=tuple(one.of(set(one.recordings) - {gone}) for one in self.consents if one.recordings != (gone,)),
            file_index=files - (files > position).int(),
            frame_index=self.frame_index[kept],
            f0=self.f0[kept],
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


def uncovered(references: Sequence[Reference], consents: Sequence[Consent]) -> tuple[Reference, ...]:
    """The references that no consent covers."""
    covered = {one for consent in consents for one in consent.recordings}
    return tuple(one for one in references if one.sha256 not in covered)


def join(sets: Sequence[MatchingSet]) -> MatchingSet:
    """One voice of the recordings of several, in order; name, description, tags and settings are those of the first.

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
    refuse_copies([(reference.name, reference.sha256) for reference in references])
    starts = [sum(len(before.references) for before in sets[:i]) for i in range(len(sets))]
    keys = torch.cat([one.keys for one in sets])
    return dataclasses.replace(
        first,
        keys=keys,
        values=torch.cat([one.values for one in sets]) if any(one.has_own_values for one in sets) else keys,
        references=references,
        consents=tuple(consent for one in sets for consent in one.consents),
        file_index=torch.cat([one.file_index + start for one, start in zip(sets, starts, strict=True)]),
        frame_index=torch.cat([one.frame_index for one in sets]),
        f0=torch.cat([one.f0 for one in sets]),
        notes=functools.reduce(Notes.joined, (one.notes for one in sets)),
    )


def refuse_copies(recordings: Sequence[tuple[str, str]]) -> None:
    """Refuse recordings (name, checksum) of which two are the same.

    Raises:
        InputError: a checksum comes twice.
    """
    seen: dict[str, str] = {}
    for name, sha256 in recordings:
        if sha256 in seen:
            raise InputError(f"references {seen[sha256]} and {name} are the same recording; give it once")
        seen[sha256] = name
