"""Voices on disk: one safetensors file each, opened by memory map.

A file holds the frames of a matching set as they are (float16) and, in its header, the origins, the names, checksums,
durations, pitch, tempo and long-term spectrum of the recordings, notes on the voice, and the date. It never holds
sound, nor any path of the machine it was made on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl import checkpoints
from speechssl.checkpoints import kinds, names
from speechssl.errors import CheckpointError, InputError
from speechssl.voices import matching_set
from speechssl.voices.consent import Consent
from speechssl.voices.matching_set import MatchingSet, Reference
from speechssl.voices.notes import Notes
from speechssl.voices.pitch import PitchStatistics
from speechssl.voices.spectrum import Spectrum
from speechssl.voices.tempo import Tempo

if TYPE_CHECKING:
    from torch import Tensor

KIND = "voice"
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class VoiceInfo:
    """What the header of a voice file says.

    Args:
        name: of the voice.
        path: the file.
        key_origin: encoder and layer of the keys.
        value_origin: of the values.
        frames: in all.
        references: the recordings.
        created: when it was last written, ISO 8601, UTC.
        megabytes: of the file.
        consents: who attested that it may be used, if anybody did.
        notes: description, tags, settings that suit the voice, quality of its recordings.
    """

    name: str
    path: Path
    key_origin: str
    value_origin: str
    frames: int
    references: tuple[Reference, ...]
    created: str
    megabytes: float
    consents: tuple[Consent, ...] = ()
    notes: Notes = field(default_factory=Notes)

    @property
    def seconds(self) -> float:
        """Duration of the recordings together."""
        return sum(reference.seconds for reference in self.references)

    @property
    def uncovered(self) -> tuple[Reference, ...]:
        """The recordings that nobody's consent covers."""
        return matching_set.uncovered(self.references, self.consents)


@kinds.checked
def save(path: str | Path, voice: MatchingSet) -> Path:
    """Write a voice to a file that its owner alone can read, whole or not at all.

    Raises:
        CheckpointError: the place cannot be written to, or the disk is full.
    """
    tensors = {
        "keys": voice.keys,
        "file_index": voice.file_index,
        "frame_index": voice.frame_index,
        "f0": voice.f0,
    }
    if voice.has_own_values:
        tensors["values"] = voice.values
    return checkpoints.save(path, tensors, _header(voice), private=True)


@kinds.checked
def load(path: str | Path, *, verify: bool | None = None) -> MatchingSet:
    """Open a voice file; its frames stay on disk until they are used.

    Args:
        path: the file.
        verify: recompute the checksum of all bytes; None does so for files up to ``checkpoints.files.VERIFY_LIMIT``.
    Raises:
        CheckpointError: missing, damaged, changed, not a voice, or of a newer format.
    """
    file = checkpoints.load(path, kind=KIND, verify=verify)
    with _understood(path):
        _check_tensors(file.tensors, finite=file.is_small or bool(verify))
        return _voice(file.header, file.tensors)


@kinds.checked
def info(path: str | Path) -> VoiceInfo:
    """The header of a voice file, without reading its frames.

    Raises:
        CheckpointError: as ``load``, except for the checksum.
    """
    path = Path(path)
    header = checkpoints.peek(path)
    if header["kind"] != KIND:
        raise CheckpointError(f"{path} is a checkpoint of kind {header['kind']!r}; a {KIND!r} is needed here")
    with _understood(path):
        return VoiceInfo(
            name=_name(header),
            path=path,
            key_origin=names.text_field(header["key_origin"], "key_origin"),
            value_origin=names.text_field(header["value_origin"], "value_origin"),
            frames=int(header["frames"]),
            references=_references(header),
            created=names.time_field(header["created"], "created"),
            megabytes=path.stat().st_size / 1e6,
            consents=_consents(header),
            notes=Notes.from_dict(header.get("notes", {})),
        )


def _header(voice: MatchingSet) -> dict[str, Any]:
    return {
        "kind": KIND,
        "name": voice.name,
        "key_origin": voice.key_origin,
        "value_origin": voice.value_origin,
        "key_encoder": voice.key_encoder,
        "frame_rate": voice.frame_rate,
        "frames": len(voice),
        "references": [asdict(reference) for reference in voice.references],
        "consents": [consent.as_dict() for consent in voice.consents],
        "notes": voice.notes.as_dict(),
        "created": names.now(),
    }


def _check_tensors(tensors: dict[str, Tensor], *, finite: bool) -> None:
    kinds = dict.fromkeys(("keys", "values", "f0"), "float16") | {"file_index": "int32", "frame_index": "int32"}
    for name, tensor in tensors.items():
        if str(tensor.dtype) != f"torch.{kinds.get(name)}" or tensor.ndim not in (1, 2):
            raise InputError(f"{name} of {tensor.dtype} and shape {tuple(tensor.shape)} is none of its parts")
        if finite and name not in ("file_index", "frame_index") and not bool(tensor.isfinite().all()):
            raise InputError(f"its {name} hold NaN or infinite numbers")


def _voice(header: dict[str, Any], tensors: dict[str, Tensor]) -> MatchingSet:
    keys = tensors["keys"]
    names.time_field(header["created"], "created")
    if header["frames"] != len(keys):
        raise InputError(f"its header names {header['frames']!a:.60} frames; it has {len(keys)}")
    return MatchingSet(
        keys=keys,
        values=tensors.get("values", keys),
        key_origin=names.text_field(header["key_origin"], "key_origin"),
        value_origin=names.text_field(header["value_origin"], "value_origin"),
        frame_rate=float(header["frame_rate"]),
        references=_references(header),
        file_index=tensors["file_index"],
        frame_index=tensors["frame_index"],
        f0=tensors["f0"],
        name=_name(header),
        consents=_consents(header),
        notes=Notes.from_dict(header.get("notes", {})),
        key_encoder=names.text_field(header["key_encoder"], "key_encoder", empty=True),
    )


def _name(header: dict[str, Any]) -> str:
    """The name of a voice; a matching set that was never in a library has none."""
    return "" if header["name"] == "" else names.checked(header["name"], "a voice")


def _consents(header: dict[str, Any]) -> tuple[Consent, ...]:
    """The consents; where they were stored without recordings, that of a voice of one recording can only be for it."""
    known = [names.checksum_field(one["sha256"]) for one in header["references"]]
    found = [Consent.from_dict(one) for one in header["consents"]]
    if len(known) == 1:
        found = [one.of(known) if not one.recordings else one for one in found]
    # whoever wrote the file may name recordings that are not in it
    return tuple(one.of(set(one.recordings) & set(known)) for one in found)


def _references(header: dict[str, Any]) -> tuple[Reference, ...]:
    return tuple(
        Reference(
            name=names.text_field(one["name"], "the name of a recording"),
            sha256=names.checksum_field(one["sha256"]),
            seconds=float(one["seconds"]),
            pitch=PitchStatistics(**one["pitch"]),
            spectrum=Spectrum(tuple(map(float, one["spectrum"]["levels"])), float(one["spectrum"]["seconds"])),
            tempo=Tempo(float(one["tempo"]["change"]), float(one["tempo"]["seconds"])),
        )
        for one in header["references"]
    )


@contextlib.contextmanager
def _understood(path: str | Path) -> Iterator[None]:
    """Name the file if a part of it is missing or of another shape."""
    try:
        yield
    except KeyError as error:
        raise CheckpointError(
            f"{path} is a damaged voice, or one of an unreleased version: it has no {error}; make it again from its "
            "recordings"
        ) from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path} is a damaged voice ({error}); make it again from its recordings") from error
