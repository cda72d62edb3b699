"""The voices of a folder: added, changed, handed on and removed, safely while others do the same."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechssl import audio, checkpoints
from speechssl.audio.given import Recordings
from speechssl.checkpoints import data_folder, names
from speechssl.encoders import fingerprints
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Encoder, Waveform, check_same_origin
from speechssl.voices import building, matching_set
from speechssl.voices.clips import clips
from speechssl.voices.consent import Consent
from speechssl.voices.files import SUFFIX, VoiceInfo, info, load, save
from speechssl.voices.matching_set import MatchingSet, Recording, Reference
from speechssl.voices.notes import Notes

if TYPE_CHECKING:
    from speechssl.verification.database import SpeakerDatabase

PRINTS = "prints.sqlite"
LONGEST_FILE = 200  # bytes of a name, which is also that of the file
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}  # on Windows


def check_name(name: str) -> str:
    """A name that is safe as the name of a file on every system, in NFC.

    Raises:
        InputError: see ``names.checked``; or anything but letters, digits, spaces, ``-``, ``_`` and ``.`` inside it.
    """
    plain = names.checked(name, "a voice") if name == name.strip() else ""
    inner = all(letter.isalnum() or unicodedata.category(letter)[0] == "M" or letter in " -_." for letter in plain)
    edges = bool(plain) and plain[0].isalnum() and plain[-1] not in " ."
    if not inner or not edges or len(plain.encode()) > LONGEST_FILE or plain.split(".")[0].lower() in RESERVED:
        raise InputError(
            f"{names.quoted(name)} cannot name a voice; up to {names.LONGEST} letters, digits, '-', '_', or '.' and "
            "spaces between them needed, beginning with a letter or digit"
        )
    return plain


class VoiceLibrary:
    """The voices in a folder.

    Args:
        folder: made when the first voice is added; None for ``checkpoints.data_folder()``.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = data_folder() if folder is None else Path(folder)

    def path(self, name: str) -> Path:
        """The file of a voice, whether or not it is there."""
        return self.folder / f"{check_name(name)}{SUFFIX}"

    def __contains__(self, name: str) -> bool:
        return not self.is_file(name) and self.path(name).is_file()

    def list(self) -> list[VoiceInfo]:
        """The voices in the folder, by name; files that are no voices are left out."""
        found = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else []:
            try:
                found.append(info(path))
            except CheckpointError:
                continue
        return found

    def show(self, name: str) -> VoiceInfo:
        """The header of a voice.

        Raises:
            InputError: no such voice.
            CheckpointError: its file is damaged.
        """
        return info(self._existing(name))

    def load(self, name: str, *, verify: bool | None = None) -> MatchingSet:
        """Open a voice.

        Raises:
            InputError: no such voice.
            CheckpointError: its file is damaged or was changed.
        """
        return load(self._existing(name), verify=verify).named(name)

    @staticmethod
    def is_file(name_or_path: str | Path) -> bool:
        """Whether this is the path of a voice file (it has a folder or ends in ``.safetensors``), not a name."""
        text = str(name_or_path)
        return isinstance(name_or_path, Path) or text.endswith(SUFFIX) or "/" in text or os.sep in text

    def open(self, name_or_path: str | Path) -> MatchingSet:
        """A voice by its name here, or by the path of a file (which has a folder or ends in ``.safetensors``).

        Raises:
            InputError: no such voice.
            CheckpointError: the file is missing, damaged or no voice.
        """
        return load(name_or_path) if self.is_file(name_or_path) else self.load(str(name_or_path))

    def add(
        self,
        name: str,
        recordings: Recordings,
        encoder: Encoder,
        value_encoder: Encoder | None = None,
        *,
        keep_silence: bool = True,
        consent: Consent | None = None,
        notes: Notes | None = None,
    ) -> VoiceInfo:
        """Make a voice of recordings, or add them to the one of that name.

        Args:
            name: see ``check_name``.
            recordings: of one speaker, one or several; see ``audio.recording``.
            encoder: makes the keys.
            value_encoder: makes the values; None where they are the keys.
            keep_silence: see ``building.build``.
            consent: kept in the file; of the person who attests that these recordings may be used. It covers none of
                those that the voice has already.
            notes: on these recordings; description, tags and settings of a voice that is there already stay.
        Raises:
            InputError: a bad name, a recording that cannot be used or is in the voice already, or a voice of another
                encoder.
            CheckpointError: the file there is damaged, or the folder cannot be written to.
        """
        path, recordings = self.path(name), audio.recordings(recordings)

        def before(*, verify: bool | None = None) -> MatchingSet | None:
            found = load(path, verify=verify).named(name) if path.exists() else None
            if found is not None:
                _check_fits(found, recordings, encoder, value_encoder or encoder)
            return found

        known = before(verify=False)  # what cannot be added is refused, not encoded
        taken = [] if known is None else [reference.name for reference in known.references]
        voice = building.build(recordings, encoder, value_encoder, name=name, keep_silence=keep_silence, taken=taken)
        voice = voice if consent is None else voice.with_consent(consent)
        voice = voice if notes is None else dataclasses.replace(voice, notes=notes)
        with self.alone():
            # once more: another writer may have added to the voice, or removed it
            stored = before()
            save(path, voice if stored is None else matching_set.join([stored, voice]))
            return info(path)

    def attest(self, name: str, consent: Consent, references: Sequence[str] = ()) -> VoiceInfo:
        """Add an attestation for recordings that the voice holds already.

        Args:
            name: of the voice.
            consent: of the person who attests that the recordings may be used.
            references: names, or beginnings of checksums; none for all of the voice.
        Raises:
            InputError: no such voice or recording.
        """
        return self._changed(name, lambda voice: voice.with_consent(consent, references))

    def note(self, name: str, change: Callable[[Notes], Notes]) -> VoiceInfo:
        """Change the notes on a voice.

        Args:
            name: of the voice.
            change: makes the new notes of those that are in the file.
        Raises:
            InputError: no such voice, or raised by ``change``.
        """
        return self._changed(name, lambda voice: dataclasses.replace(voice, notes=change(voice.notes)))

    def _changed(self, name: str, change: Callable[[MatchingSet], MatchingSet]) -> VoiceInfo:
        self._existing(name)
        with self.alone():
            path = self._existing(name)
            save(path, change(load(path).named(name)))
            return info(path)

    def prints(self) -> SpeakerDatabase:
        """The embeddings of the recordings of voices, by voice, which results are verified against; close it."""
        from speechssl.verification.database import SpeakerDatabase

        return SpeakerDatabase(self.folder / PRINTS)

    def remove(self, name: str, reference: str | Sequence[str] | None = None) -> None:
        """Remove a voice, or recordings of a voice with their frames; and their voice prints and cached embeddings.

        Args:
            name: of the voice.
            reference: names of recordings, or the beginnings of their checksums; None for the whole voice.
        Raises:
            InputError: no such voice or recording, in which case none is removed, or the only recording.
        """
        self._existing(name)
        with self.alone():
            path = self._existing(name)
            if reference is not None:
                voice = load(path).named(name)
                smaller = voice
                for one in [reference] if isinstance(reference, str) else reference:
                    smaller = smaller.without(one)
                self._forget(
                    name, {one.sha256 for one in voice.references} - {one.sha256 for one in smaller.references}
                )
                save(path, smaller)
                return
            known: tuple[Reference, ...] = ()
            # a damaged voice can be removed as well
            with contextlib.suppress(CheckpointError):
                known = info(path).references
            self._forget(name, {one.sha256 for one in known}, whole=True)
            path.unlink()

    def _forget(self, name: str, checksums: set[str], *, whole: bool = False) -> None:
        """Remove what was computed from recordings; before they go, so that a killed process can do it again."""
        from speechssl.verification import evaluation

        evaluation.forget_cached(checksums)
        if (self.folder / PRINTS).exists():
            with self.prints() as prints:
                prints.forget(name, None if whole else checksums)

    def export(self, name: str, path: str | Path) -> Path:
        """Copy a voice to a file (in a folder, under its name); an existing file is not replaced.

        Raises:
            InputError: no such voice, or the file exists.
        """
        voice, target = self._existing(name), Path(path)
        target = target / voice.name if target.is_dir() else target
        return _copied(voice, target)

    def import_(self, path: str | Path, name: str | None = None) -> VoiceInfo:
        """Take in a voice file after checking every byte of it.

        Args:
            path: the file.
            name: to give it; None for its own.
        Raises:
            InputError: the name is bad or taken.
            CheckpointError: the file is missing, damaged, changed or no voice.
        """
        voice = load(path, verify=True)
        target = self.path(name or voice.name)
        with self.alone():
            _refuse_taken(target)
            save(target, voice.named(target.name.removesuffix(SUFFIX)))
            return info(target)

    def rename(self, name: str, new: str) -> VoiceInfo:
        """Give a voice another name.

        Raises:
            InputError: no such voice, or the new name is bad or taken.
            CheckpointError: the file is damaged, or the folder cannot be written to.
        """
        target = self.path(new)
        self._existing(name)
        with self.alone():
            path = self._existing(name)
            _refuse_taken(target)
            save(target, load(path, verify=True).named(new))
            if (self.folder / PRINTS).exists():
                with self.prints() as prints:
                    prints.rename(name, new)
            path.unlink()
            return info(target)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only writer of the folder, which is made if it is missing; other writers wait.

        Raises:
            CheckpointError: the folder cannot be written to.
        """
        try:
            checkpoints.private_folder(self.folder)
        except OSError as error:
            raise CheckpointError(
                f"cannot write to {self.folder}: {error.strerror}; choose another place, or make this one writable"
            ) from error
        with checkpoints.alone(self.folder):
            yield

    def _existing(self, name: str) -> Path:
        path = self.path(name)
        if not path.is_file():
            known = ", ".join(repr(voice.name) for voice in self.list()) or "none yet"
            packaged = ", ".join(dict.fromkeys(clip.voice for clip in clips()))
            raise InputError(
                f"no voice {name!r} in {self.folder}; there are: {known}. Make it with 'voice add', or convert with "
                f"one of the package: {packaged}"
            )
        return path


def _check_fits(voice: MatchingSet, recordings: Sequence[Recording], encoder: Encoder, value_encoder: Encoder) -> None:
    """Refuse recordings that cannot be added to this voice: those of another encoder, and those that it holds."""
    what = f"add to the voice {voice.name!r}"
    check_same_origin(voice.key_origin, encoder.origin, what=what)
    check_same_origin(voice.value_origin, value_encoder.origin, what=f"{what}, values")
    fingerprints.check_same_weights(voice.key_encoder, fingerprints.remembered(encoder), voice.key_origin, what=what)
    _refuse_known(voice, recordings)


def _refuse_taken(path: Path) -> None:
    if path.exists():
        name = path.name.removesuffix(SUFFIX)
        raise InputError(f"there is a voice {name!r} already; give another name, or remove it first")


def _refuse_known(voice: MatchingSet, recordings: Sequence[Recording]) -> None:
    """Refuse a recording that the voice holds already, before anything is encoded."""
    known = {reference.sha256: reference.name for reference in voice.references}
    for recording in recordings:
        if name := known.get(audio.checksum(recording)):
            given = "that waveform" if isinstance(recording, Waveform) else str(recording)
            raise InputError(f"the voice {voice.name!r} holds {given} already, as {name}; give other recordings")


def _copied(source: Path, target: Path) -> Path:
    if target.exists():
        raise InputError(f"{target} exists; give another path, or remove it first")
    with checkpoints.atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        temporary.chmod(checkpoints.OWN_FILE)
    return target
