"""Conversions as ``speechssl convert`` asks for them: all alike, or each row of a list with a voice and options."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from speechssl.cli import outputs, terminal
from speechssl.cli.batch import distinct
from speechssl.cli.ledger import Job
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.conversion.options import ConversionOptions
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.voices.matching_set import MatchingSet

    Target: TypeAlias = list[tuple[MatchingSet, float]]

KEPT = 4  # voices held in memory; one that is wanted again later is opened again
COLUMNS = ("source", "voice", "reference", "output")
NUMBERS: dict[str, Callable[[str], float]] = {"k": int, "interpolation": float}  # options that are no text


@dataclass(frozen=True)
class Wanted:
    """Whose voice is wanted, and how.

    Args:
        options: checked.
        references: recordings of the voice; empty with stored voices.
        voices: names of stored voices with weights.
    """

    options: ConversionOptions
    references: tuple[Path, ...] = ()
    voices: tuple[tuple[str, float], ...] = ()


class Targets:
    """Opens the voices of conversions; the last few stay open."""

    def __init__(self, system: VoiceConverter) -> None:
        self._system = system
        self._open: dict[tuple[object, ...], Target] = {}

    def of(self, wanted: Wanted) -> Target:
        """The voices and their weights.

        Raises:
            InputError: a recording or voice that cannot be used.
        """
        key = (wanted.references, wanted.voices)
        if key not in self._open:
            found = self._made(wanted)
            while len(self._open) >= KEPT:
                del self._open[next(iter(self._open))]
            self._open[key] = found
        return self._open[key]

    def _made(self, wanted: Wanted) -> Target:
        if wanted.references:
            return [(self._system.matching_set(distinct(wanted.references)), 1.0)]
        from speechssl.conversion.convert import named_voice

        return [(named_voice(self._system, name), weight) for name, weight in wanted.voices]


def weighted(text: str) -> tuple[str, float]:
    """``ada=0.7`` as ``("ada", 0.7)``; without a weight 1.

    Raises:
        InputError: a weight that is no number.
    """
    name, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise InputError(f"the weight of the voice in {text!r} is no number; write NAME=0.7") from None


def at_rate_of(options: ConversionOptions, output: Path) -> ConversionOptions:
    """Checked options, with the sample rate that a file has if its usual rate is wanted.

    Raises:
        InputError: an option out of range, or a rate that the file cannot hold.
    """
    from speechssl.conversion.convert import rate_for

    found = dataclasses.replace(options, sample_rate=rate_for(options.sample_rate, output))
    found.check()
    return found


def read(listed: str, folder: Path, usual: Wanted) -> dict[Job, Wanted]:
    """The conversions of a list, in order.

    Args:
        listed: CSV, TSV or JSON lines with a column ``source``, and perhaps ``voice`` or ``reference`` (several with
            semicolons between), ``output`` and any option of a conversion. Paths are relative to the list's folder.
        folder: of outputs that are no absolute paths.
        usual: what stands for columns that are missing or empty.
    Raises:
        InputError: a row that cannot be used, with file and line.
    """
    from speechssl.audio import lists

    found: dict[Job, Wanted] = {}
    unused: dict[str, None] = {}
    for number, row in lists.table(listed, ("source",)):
        where = f"{listed}:{number}"
        cells = {re.sub(r"[\s-]+", "_", str(key).strip().lower()): _text(value) for key, value in row.items()}
        try:
            job, wanted, rest = _conversion(cells, lists.folder_of(Path(listed)), folder, usual)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        if any(one.output == job.output for one in found):
            raise InputError(f"{where}: {job.output} is the output of an earlier row too; give each its own")
        found[job] = wanted
        unused |= dict.fromkeys(rest)
    if not found:
        raise InputError(f"{listed} holds no row; a column 'source' and a row for each conversion needed")
    if unused:
        terminal.remark(f"{listed}: columns that are no options were not used: {', '.join(unused)}")
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _conversion(cells: dict[str, str], root: Path, folder: Path, usual: Wanted) -> tuple[Job, Wanted, list[str]]:
    """One row: the job, what is wanted, and the columns that are not used."""
    from speechssl.audio import lists

    if not cells.get("source"):
        raise InputError(f"no source (columns: {', '.join(cells)}); the path of a recording needed")
    source = Path(lists.located(root, cells["source"])[1])
    references, voices = _split(cells.get("reference", "")), _split(cells.get("voice", ""))
    if references and voices:
        raise InputError("both a reference and a voice; give one of them")
    target = dataclasses.replace(
        usual,
        references=tuple(Path(lists.located(root, one)[1]) for one in references),
        voices=tuple(weighted(str(root / one) if (root / one).is_file() else one) for one in voices),
    )
    target = target if references or voices else usual
    if not (target.references or target.voices):
        raise InputError("neither a voice nor a reference, nor --voice or --reference for all; whose voice is wanted?")
    name = cells.get("output", "").replace("\\", "/") or f"{source.stem}-as-{_name(target)}.wav"
    output = folder / name
    outputs.check_sound(output)
    given: dict[str, Any] = {}
    names = {field.name for field in dataclasses.fields(usual.options)}
    for key in names & cells.keys():
        if cells[key]:
            given[key] = _number(key, cells[key]) if key in NUMBERS else cells[key]
    options = at_rate_of(dataclasses.replace(usual.options, **given), output)
    rest = [key for key in cells if key and key not in names and key not in COLUMNS]
    return Job(source, output), dataclasses.replace(target, options=options), rest


def _split(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]


def _number(key: str, cell: str) -> float:
    try:
        return NUMBERS[key](cell)
    except ValueError:
        raise InputError(f"{key} is {cell!r}; a number needed") from None


def _name(target: Wanted) -> str:
    """What the voice is called in the name of an output."""
    names: Sequence[str] = [name for name, _ in target.voices] or [str(target.references[0])]
    return "-".join(Path(name).stem if "/" in name or Path(name).suffix else name for name in names)
