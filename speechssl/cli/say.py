"""``speechssl say``: text in, the target's voice out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from speechssl.cli import batch, receipt, terminal
from speechssl.cli.options import Device, Json, Model, Receipt, References
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.synthesis.synthesizer import Speech, TimedWord

LONGEST_NAME = 1000  # characters of a text above which it is not tried as the name of a file


def say(
    text: Annotated[
        str, typer.Argument(metavar="TEXT|FILE|-", help="A text, a text file, or - for stdin.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="A .wav, .flac, .opus or .mp3 file.", show_default=False),
    ],
    reference: References = None,
    voice: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--voice", "-v", metavar="NAME|FILE", help="A stored voice.", show_default=False),
    ] = None,
    interpolation: Annotated[
        float, typer.Option("--interpolation", help="1: all target, 0: the speaker of the text model.")
    ] = 1.0,
    speed: Annotated[float, typer.Option("--speed", help="2 is twice as fast; 0.25 to 4.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the lengths of sounds: another one, another reading.")] = 0,
    language: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--language", metavar="CODE", help="en-us, that of the text model.", show_default=False),
    ] = None,
    subtitles: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--subtitles", metavar="FILE", help="Write a .srt or .vtt file beside it.", show_default=False),
    ] = None,
    synthesizer: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--synthesizer", metavar="FILE", help="Another text model, with keys of --model.", show_default=False
        ),
    ] = None,
    sign: Receipt = None,
    model: Model = "tiny",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Speak a text in the voice of some recordings, which need no transcript.

    Examples: speechssl say "Good morning." --reference ada1.wav ada2.wav --output morning.wav;
    speechssl say book.txt --voice ada --output book.opus --subtitles book.srt
    """
    from speechssl.audio.files import WRITABLE
    from speechssl.conversion import convert
    from speechssl.conversion.bundles import load_bundle
    from speechssl.receipts import contents, signing
    from speechssl.synthesis import say as say_module
    from speechssl.synthesis import subtitles as writer
    from speechssl.synthesis.synthesizer import check_options

    check_options(interpolation=interpolation, speed=speed)
    if bool(reference) == bool(voice):
        got = "both" if reference else "neither"
        raise InputError(f"{got} --reference and --voice given; one of them needed: whose voice is wanted?")
    if output.suffix.lower() not in WRITABLE:
        raise InputError(f"{output} has no extension that can be written; one of {', '.join(WRITABLE)} needed")
    if subtitles is not None:
        writer.check_format(subtitles)
    written = read_text(text)
    system = load_bundle(model, device=device)
    made = say_module.load_synthesizer(synthesizer or say_module.SYNTHESIZER, system=system, language=language)
    target = convert.open_voice(made.system, batch.audio_files(reference) if reference else (), voice)
    parts = made.stream(written, target, interpolation=interpolation, speed=speed, seed=seed)
    tally = Tally()
    for part in say_module.stream_to(output, parts):
        tally.add(part)
    if subtitles is not None:
        writer.write(subtitles, tally.words)
    facts = {"output": str(output), **tally.facts()}
    if signer := receipt.signer(sign, [target]):
        options = {"interpolation": interpolation, "speed": speed, "seed": seed}
        leave = contents.consents([target], otherwise=receipt.NOBODY)
        made_of = contents.of_speech(written, target, text_model=made.model.origin, consent=leave, settings=options)
        signing.issue(output, made_of, signer)
        facts["receipt"] = str(signing.beside(output))
    if subtitles is not None:
        facts["subtitles"] = str(subtitles)
    if json:
        terminal.emit({**facts, "words": [_word(word) for word in tally.words]})
    else:
        print(f"{output}  {facts['seconds']:.1f} s, {facts['sentences']} sentences")


class Tally:
    """What is known of a text while its sentences pass by."""

    def __init__(self) -> None:
        self.words: list[TimedWord] = []
        self._seconds, self._sentences, self._coverage, self._sample_rate = 0.0, 0, 0.0, 0

    def add(self, part: Speech) -> None:
        """Count one sentence."""
        from speechssl.synthesis.synthesizer import shifted

        self.words += shifted(part.words, self._seconds)
        self._coverage += part.conversion.coverage * part.waveform.seconds
        self._seconds += part.waveform.seconds
        self._sentences += 1
        self._sample_rate = part.waveform.sample_rate

    def facts(self) -> dict[str, Any]:
        """Seconds, sentences, sample rate, and how near the voice's frames were to what was wanted."""
        return {
            "seconds": round(self._seconds, 3),
            "sentences": self._sentences,
            "sample_rate": self._sample_rate,
            "coverage": round(self._coverage / self._seconds, 4) if self._seconds else 0.0,
        }


def read_text(text: str) -> str:
    """The text itself, that of a file, or of stdin for ``-``.

    Raises:
        InputError: a file that is no text in UTF-8.
    """
    if text == "-":
        return _decoded(sys.stdin.buffer.read(), "stdin")
    if 0 < len(text) < LONGEST_NAME and "\n" not in text and "\0" not in text:
        path = Path(text)
        if path.is_file():
            return _decoded(path.read_bytes(), text)
        if path.suffix.lower() in (".txt", ".md") and " " not in text:
            raise InputError(f"{text}: no such file; check the path")
    return text


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is no text in UTF-8 (byte {error.start}); save it as UTF-8") from error


def _word(word: TimedWord) -> dict[str, Any]:
    return {"text": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
