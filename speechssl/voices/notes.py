"""What a person notes about a stored voice, and how good its recordings were found when they were stored."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from speechssl.checkpoints import names
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.voices.reference_report import ReferenceReport

LONGEST = 500  # characters of a description or a remark
LONGEST_TAG, MOST_TAGS = 32, 12
MOST_REMARKS = 20
SETTINGS = ("k", "converter", "interpolation", "pitch", "tempo", "loudness")  # options of a conversion


@dataclass(frozen=True)
class Notes:
    """Notes on a voice, kept in its file.

    Args:
        description: one line.
        tags: words to find it by.
        settings: options of a conversion that suit the voice, by name, as clients of the page's API give them.
        speech_seconds: of speech in the recordings that were measured; 0 if none was.
        remarks: what was wrong with their sound; empty if nothing was.
    """

    description: str = ""
    tags: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    speech_seconds: float = 0.0
    remarks: tuple[str, ...] = ()

    def described(self, description: str, tags: Iterable[str]) -> Notes:
        """The notes with another description and other tags; spaces that say nothing are left out.

        Raises:
            InputError: too long, too many, or with characters that nobody sees.
        """
        line, found = _line(description), dict.fromkeys(filter(None, map(_line, tags)))
        return replace(self, description=line, tags=tuple(found)).checked()

    def with_settings(self, settings: Mapping[str, str]) -> Notes:
        """The notes with other settings.

        Raises:
            InputError: a setting that no conversion has, or no short text.
        """
        return replace(self, settings=dict(settings)).checked()

    def measured(self, report: ReferenceReport) -> Notes:
        """The notes with what a report says of further recordings."""
        return self.joined(Notes(speech_seconds=report.speech_seconds, remarks=report.sound_remarks)).checked()

    def joined(self, other: Notes) -> Notes:
        """These notes for a voice that has also the recordings that the other ones are about."""
        remarks = tuple(dict.fromkeys((*self.remarks, *other.remarks)))[:MOST_REMARKS]
        return replace(self, speech_seconds=self.speech_seconds + other.speech_seconds, remarks=remarks)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``from_dict`` is the way back."""
        return {**asdict(self), "tags": list(self.tags), "remarks": list(self.remarks)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Notes:
        """The notes in a file that somebody else may have written.

        Raises:
            InputError: a field is not what people can read.
            TypeError: a field that is unknown, or of another kind.
        """
        lists = {name: tuple(_list(values.get(name, []), name)) for name in ("tags", "remarks")}
        return Notes(**{**values, **lists}).checked()

    def checked(self) -> Notes:
        """The same notes, of which every part is what people can read.

        Raises:
            InputError: a part is not.
        """
        names.text_field(self.description, "the description", longest=LONGEST, empty=True)
        for what, texts, longest, most in (
            ("a tag", self.tags, LONGEST_TAG, MOST_TAGS),
            ("a remark", self.remarks, LONGEST, MOST_REMARKS),
        ):
            if len(texts) > most:
                raise InputError(f"{len(texts)} times {what}; {most} at most")
            for text in texts:
                names.text_field(text, what, longest=longest)
        if unknown := [name for name in dict(self.settings) if name not in SETTINGS]:
            raise InputError(f"setting {unknown[0]!a:.60}; one of {', '.join(SETTINGS)} needed")
        for name, value in self.settings.items():
            names.text_field(value, name, longest=LONGEST_TAG)
        seconds = self.speech_seconds
        if type(seconds) not in (int, float) or not seconds >= 0 or not math.isfinite(seconds):
            raise InputError(f"seconds of speech are {seconds!a:.60}; a number of 0 or more needed")
        return self


def _line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{name} are {value!a:.60}; a list needed")
    return value
