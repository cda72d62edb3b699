"""Text to sound by names: what ``speechssl say`` does, as functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from speechssl import audio, voices
from speechssl.audio.given import Recordings
from speechssl.checkpoints import PACKAGED, kinds
from speechssl.conversion.bundles import load_bundle
from speechssl.conversion.convert import open_voice
from speechssl.errors import InputError
from speechssl.voices.matching_set import MatchingSet

if TYPE_CHECKING:
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.synthesis.model import TextModel
    from speechssl.synthesis.synthesizer import Speech, Synthesizer

SYNTHESIZER = PACKAGED / "tiny" / "synthesizer.safetensors"


@kinds.checked
def load_synthesizer(
    path: str | Path = SYNTHESIZER,
    *,
    system: VoiceConverter | None = None,
    language: str | None = None,
    lexicon: str | Path | None = None,
) -> Synthesizer:
    """A synthesizer, ready to speak.

    Args:
        path: file of a text model; the packaged one speaks American English. A voice file beside it, whose name ends
            in ``-voice``, is the voice of the speaker the model was trained on, for interpolation.
        system: encoder, values and vocoder; None for the packaged ones.
        language: language of the text; None for that of the model.
        lexicon: file of pronunciations, a word and its sounds on each line: ``tomato T AH0 M AA1 T OW2``.
    Returns:
        The synthesizer, for ``say``; loaded once, it speaks any number of texts.
    Raises:
        InputError: another language than the model's, or a system of another encoder.
        CheckpointError: a file that is missing or damaged.

    Example:
        >>> import speechssl
        >>> speechssl.load_synthesizer().model.language
        'en-us'
    """
    from speechssl.synthesis import lexicon as lexicons

    made = assembled(text_model(path, language), path, system or load_bundle())
    return made.reading(lexicons.read(lexicon)) if lexicon else made


def text_model(path: str | Path, language: str | None) -> TextModel:
    """The text model of a file, of the language that is wanted.

    Raises:
        InputError: it speaks another language.
        CheckpointError: the file is missing or damaged.
    """
    from speechssl.synthesis import model as models
    from speechssl.synthesis.languages import check_language

    wanted = check_language(language) if language else None
    model = models.load(path)
    if wanted not in (None, model.language):
        raise InputError(
            f"{Path(path).name} speaks {model.language}, not {wanted}; give a text model that was trained on {wanted} "
            "(--synthesizer FILE), or a text in its language"
        )
    return model


def assembled(model: TextModel, path: str | Path, system: VoiceConverter) -> Synthesizer:
    """The synthesizer of a text model, with the voice that lies beside its file.

    Raises:
        InputError: a system of another encoder.
    """
    from speechssl.synthesis.synthesizer import Synthesizer

    beside = Path(path).with_name(f"{Path(path).stem}-voice.safetensors")
    speaker = voices.load(beside) if beside.exists() else None
    if speaker is not None and speaker.value_origin != system.value_encoder.origin:
        speaker = None
    return Synthesizer(model, system, speaker=speaker)


@kinds.checked
def say(
    text: str,
    references: Recordings = (),
    *,
    voice: str | Path | MatchingSet | None = None,
    output: str | Path | None = None,
    interpolation: float = 1.0,
    speed: float = 1.0,
    seed: int = 0,
    language: str | None = None,
    synthesizer: str | Path | Synthesizer = SYNTHESIZER,
) -> Speech:
    """Speak a text in the voice of some recordings, which need no transcript: ``speechssl say`` as a function.

    For several texts, make the object once with ``load_synthesizer`` and call ``Synthesizer.say``, or
    ``Synthesizer.stream`` for long texts.

    Args:
        text: any text.
        references: of the wanted voice, one or several, see ``audio.recording``; half a minute works best.
        voice: instead of references, a stored voice by name or file, or a matching set.
        output: file for the sound; None for none.
        interpolation: see ``Synthesizer.stream``; so are ``speed`` and ``seed``.
        language: language of the text; None for that of the text model.
        synthesizer: file of a text model, or the result of ``load_synthesizer``.
    Returns:
        The sound, with the times of its words.
    Raises:
        InputError: nothing to say, an option out of range, or references that cannot be used.
        CheckpointError: weights or a voice that cannot be used.

    Example:
        >>> import speechssl
        >>> spoken = speechssl.say("Good morning.", speechssl.clip("eric"))
        >>> spoken.words[0].text
        'Good'
    """
    from speechssl.synthesis.synthesizer import Synthesizer, check_options

    check_options(interpolation=interpolation, speed=speed)
    references = audio.recordings(references)
    if output is not None:
        audio.refuse_overwriting(output, [one for one in (*references, voice) if isinstance(one, str | Path)])
    made = synthesizer if isinstance(synthesizer, Synthesizer) else load_synthesizer(synthesizer, language=language)
    target = open_voice(made.system, references, voice)
    spoken = made.say(text, target, interpolation=interpolation, speed=speed, seed=seed)
    if output is not None:
        audio.write(output, spoken.waveform)
    return spoken


def stream_to(path: str | Path, parts: Iterator[Speech]) -> Iterator[Speech]:
    """Write sentences to one file as they come, and yield them; the file appears when the last one is written.

    Raises:
        InputError: see ``audio.write``.
    """
    first = next(parts)
    with audio.writing(path, first.waveform.sample_rate) as write:
        write(first.waveform)
        yield first
        for part in parts:
            write(part.waveform)
            yield part
