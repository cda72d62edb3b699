"""``speechssl say``: text in, the target's voice out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from speechssl.cli import batch, models, outputs, receipt, terminal
from speechssl.cli import options as opt
from speechssl.cli.outputs import Overwrite
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.synthesis.subtitles import Cue
    from speechssl.synthesis.synthesizer import Speech, Synthesizer, TimedWord
    from speechssl.voices.matching_set import MatchingSet

LONGEST_NAME = 1000  # characters; a longer text is never taken for the name of a file
CHARACTERS = 14.0  # of a second of speech, by which the length of a text is estimated
EXAMPLES = opt.examples(
    'say "Good morning." --reference ada1.wav ada2.wav -o out.wav',
    "say book.txt --voice ada --output book.opus --subtitles book.srt",
    "say film.srt --voice ada --output dubbed.wav",
    "say notes.txt --voice ada --lexicon words.txt --output said.wav",
    "say - --voice ada --speed 1.2 --output said.wav < notes.txt",
)

Text: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TEXT|FILE|-",
        help="Text to speak, a text file in UTF-8, or - for standard input. Subtitles (.srt, .vtt) are spoken in time.",
    ),
]
Sound: TypeAlias = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="Sound file to write: .wav, .flac, .opus or .mp3."),
]
Speed: TypeAlias = Annotated[
    float, typer.Option("--speed", help="Speaking rate as a factor, from 0.25 to 4: 2 is twice as fast.")
]
Seed: TypeAlias = Annotated[
    int, typer.Option("--seed", help="Random seed for sound durations; change it for another reading.")
]
Language: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="CODE",
        help="Language of the text, such as en-us. Default: the language of the text model.",
    ),
]
Subtitles: TypeAlias = Annotated[
    Path | None,
    typer.Option("--subtitles", metavar="FILE", help="Also write subtitles with the times of all words: .srt or .vtt."),
]
TextModel: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--synthesizer",
        metavar="FILE",
        help="Text model to use instead of the packaged one; it must be trained on the encoder of --model.",
    ),
]

Pronunciations: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--lexicon",
        metavar="FILE",
        help="Pronunciations: a word and its sounds on each line, such as: tomato T AH0 M AA1 T OW2.",
    ),
]


def say(
    text: Text,
    output: Sound,
    reference: opt.References = None,
    voice: opt.Voice = None,
    interpolation: opt.Interpolation = 1.0,
    speed: Speed = 1.0,
    seed: Seed = 0,
    language: Language = None,
    subtitles: Subtitles = None,
    synthesizer: TextModel = None,
    lexicon: Pronunciations = None,
    sign: opt.Receipt = None,
    overwrite: Overwrite = False,
    model: opt.MaybeModel = None,
    layer: opt.Layer = None,
    normalise: opt.Normalise = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Speak a text in the voice of some recordings, which need no transcript."""
    from speechssl.conversion import convert
    from speechssl.synthesis import subtitles as writer
    from speechssl.synthesis.synthesizer import check_options

    check_options(interpolation=interpolation, speed=speed)
    opt.check_target(reference, voice)
    _check_output(output, subtitles)
    files = batch.recordings(reference, needed=False)
    given: list[str | Path] = [*files, *([voice] if voice else []), *([text] if len(text) < LONGEST_NAME else [])]
    outputs.check([output, *([subtitles] if subtitles else [])], given, overwrite=overwrite)
    words = read_text(text)
    cues = writer.read(words, text) if Path(text[:LONGEST_NAME]).suffix.lower() in writer.FORMATS else []
    words = "\n".join(cue.text for cue in cues) or words
    system = {"layer": layer, "normalise": normalise, "device": device}
    made = _loaded(words, synthesizer, lexicon, language, model, system)
    terminal.stage("listening to the references" if files else "opening the voice")
    target = convert.open_voice(made.system, batch.distinct(files), voice)
    settings: dict[str, Any] = {"interpolation": interpolation, "speed": speed, "seed": seed}
    tally = _spoken(made, words, cues, target, output, settings)
    facts = {"output": str(output), **tally.facts(), **_sign(sign, output, words, target, made, settings)}
    if subtitles is not None:
        writer.write(subtitles, tally.words)
        facts["subtitles"] = str(subtitles)
    count = terminal.count(facts["sentences"], "cue" if cues else "sentence")
    whole = {**facts, "words": [_word(word) for word in tally.words]}
    terminal.answer(whole, f"{output}  {facts['seconds']:.1f} s, {count}", json=json)


def _loaded(
    words: str,
    synthesizer: Path | None,
    lexicon: Path | None,
    language: str | None,
    model: str | None,
    system: dict[str, Any],
) -> Synthesizer:
    """The text model with its encoder; a text that cannot be read is refused before the rest is loaded."""
    from speechssl.synthesis import lexicon as lexicons
    from speechssl.synthesis import say as say_module
    from speechssl.synthesis.front_end import FrontEnd

    file = synthesizer or say_module.SYNTHESIZER
    text_model = say_module.text_model(file, language)
    own = lexicons.read(lexicon) if lexicon else {}  # once: it may be a pipe
    FrontEnd(text_model.language, lexicon=own).prepare(words)
    loaded = models.load(model, [text_model.origin], **system)
    made = say_module.assembled(text_model, file, loaded)
    return made.reading(own) if own else made


def _spoken(
    made: Synthesizer, words: str, cues: list[Cue], voice: MatchingSet, output: Path, settings: dict[str, Any]
) -> Tally:
    """Write the text, or the cues at their times, sentence by sentence, and count what was written."""
    from speechssl.synthesis import dubbing
    from speechssl.synthesis.say import stream_to

    tally = Tally()
    terminal.stage("speaking")
    terminal.expect(cues[-1].end if cues else len(words) / (CHARACTERS * settings["speed"]))
    parts = (
        dubbing.stream(made, cues, [voice] * len(cues), **settings) if cues else made.stream(words, voice, **settings)
    )
    for part in stream_to(output, parts):
        tally.add(part)
        terminal.advance(part.waveform.seconds)
    return tally


def _check_output(output: Path, subtitles: Path | None) -> None:
    """Refuse files of a kind that cannot be written, before the work."""
    from speechssl.synthesis import subtitles as writer

    outputs.check_sound(output)
    outputs.check_folder(output)
    if subtitles is not None:
        writer.check_format(subtitles)
        outputs.check_folder(subtitles)


def _sign(
    wanted: bool | None, output: Path, text: str, voice: MatchingSet, made: Synthesizer, settings: dict[str, Any]
) -> dict[str, str]:
    """Sign a receipt if one is wanted; returns where the receipt is."""
    from speechssl.receipts import contents, signing

    signer = receipt.signer(wanted, [voice])
    if signer is None:
        signing.drop(output)
        return {}
    consent = contents.consents([voice], otherwise=receipt.NOBODY)
    facts = contents.of_speech(text, voice, text_model=made.model.origin, consent=consent, settings=settings)
    signing.issue(output, facts, signer)
    return {"receipt": str(signing.beside(output))}


class Tally:
    """Counts the sentences of a text while they are written."""

    def __init__(self) -> None:
        self.words: list[TimedWord] = []
        self._seconds, self._sentences, self._coverage, self._sample_rate = 0.0, 0, 0.0, 0

    def add(self, part: Speech) -> None:
        """Count one sentence."""
        from speechssl.synthesis.synthesizer import shifted

        for remark in part.remarks:
            terminal.remark(f"text: {remark}")
        self.words += shifted(part.words, self._seconds)
        self._coverage += part.conversion.coverage * part.waveform.seconds
        self._seconds += part.waveform.seconds
        self._sentences += 1
        self._sample_rate = part.waveform.sample_rate

    def facts(self) -> dict[str, Any]:
        """Seconds, sentences, sample rate, and the mean similarity of the frames taken to the frames wanted."""
        return {
            "seconds": round(self._seconds, 3),
            "sentences": self._sentences,
            "sample_rate": self._sample_rate,
            "coverage": round(self._coverage / self._seconds, 4) if self._seconds else 0.0,
        }


def read_text(text: str) -> str:
    """The text itself, the contents of a file, or standard input for ``-``.

    Raises:
        InputError: the file does not exist, is empty, or is not text in UTF-8.
    """
    if text == "-":
        return _decoded(sys.stdin.buffer.read(), "stdin")
    if 0 < len(text) < LONGEST_NAME and "\n" not in text and "\0" not in text:
        path = Path(text)
        # unlike Path.is_file, this knows that a long text is no file
        if os.path.isfile(path):
            return _decoded(path.read_bytes(), text)
        if path.suffix.lower() in (".txt", ".md", ".srt", ".vtt") and " " not in text:
            raise InputError(f"{text}: no such file; check the path")
    return text


def _decoded(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is no text in UTF-8 (byte {error.start}); save it as UTF-8") from error
    if not text.strip():
        raise InputError(f"{name} is empty; a text with at least one word needed")
    return text


def _word(word: TimedWord) -> dict[str, Any]:
    return {"text": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
