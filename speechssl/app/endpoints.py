"""The API: every handler under a name, for ``gradio_client`` and plain HTTP.

Files come and go as files, everything else as JSON. What cannot be used is an error with one sentence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from speechssl.app.handlers import batches, conversions, listing, scores, speaking, units
from speechssl.app.handlers.conversions import BUNDLED, Options, Target
from speechssl.app.sessions import Session
from speechssl.app.state import Refused, Workshop
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import WORK
from speechssl.errors import SpeechSSLError
from speechssl.voices import consent
from speechssl.voices.consent import Consent


def add(shop: Workshop) -> None:
    """Add the endpoints to the page that is being built."""
    with gr.Group(visible=False):
        _convert(shop)
        if speaking.available():
            _say(shop)
        _batch(shop)
        _verify(shop)
        _speakers(shop)
        _units(shop)
        _voices(shop)


def _endpoint(
    shop: Workshop, name: str, work: Callable[..., Any], inputs: list[Any], outputs: list[Any], text: str
) -> None:
    """An event without a button that anybody sees."""
    gr.Button(visible=False).click(
        work, inputs, outputs, api_name=name, api_description=text, concurrency_id=WORK, concurrency_limit=shop.jobs
    )


def _sentence(shop: Workshop, error: SpeechSSLError) -> gr.Error:
    field = f"{error.field}: " if isinstance(error, Refused) else ""
    return gr.Error(field + listing.said(error, shop), print_exception=False)


def _leave(text: str) -> Consent | None:
    return consent.parse(text) if text.strip() else None


def _target(shop: Workshop, session: Session, references: Any, voice: str) -> Target:
    files = parts.paths(references)
    if files and voice.strip():
        raise Refused("target", "references or a voice, one of them")
    if files:
        return Target(files=files)
    named = []
    for one in voice.split(",") if voice.strip() else []:
        name, _, share = one.strip().partition("=")
        try:
            weight = float(share) if share else 1.0
        except ValueError:
            raise Refused("target", f"the weight of the voice in {one!r} is no number; write NAME=0.7") from None
        stored = name in shop.library(session.user) if not name.startswith(BUNDLED) else True
        named.append((name if stored else f"{BUNDLED}{name}", weight))
    return Target(voices=tuple(named))


def _convert(shop: Workshop) -> None:
    def convert(
        source: Any,
        references: Any,
        voice: str,
        consent: str,
        k: float,
        converter: str,
        interpolation: float,
        pitch: str,
        file_format: str,
        model: str,
        tempo: str,
        request: gr.Request,
    ) -> tuple[str, dict[str, Any]]:
        session = parts.session_of(shop, request)
        try:
            chosen = _options(k, converter, interpolation, pitch, file_format, model, tempo)
            target = _target(shop, session, references, voice)
            made = conversions.convert(shop, session, source, target, chosen, leave=_leave(consent))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error
        return str(made.path), made.facts()

    def stream(
        source: Any,
        references: Any,
        voice: str,
        consent: str,
        k: float,
        converter: str,
        interpolation: float,
        pitch: str,
        file_format: str,
        model: str,
        tempo: str,
        request: gr.Request,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        session = parts.session_of(shop, request)
        try:
            chosen = _options(k, converter, interpolation, pitch, file_format, model, tempo)
            target = _target(shop, session, references, voice)
            number, second = 0, 0.0
            for made in conversions.stream(shop, session, source, target, chosen, leave=_leave(consent)):
                if isinstance(made, conversions.Made):
                    yield str(made.path), made.facts()
                    return
                facts = {"piece": number, "second": round(second, 3), "seconds": round(made.seconds, 3)}
                yield str(conversions.write_piece(shop, session, made, facts)), facts
                number, second = number + 1, second + made.seconds
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    def inputs() -> list[Any]:
        return [
            gr.File(label="recording whose words are kept"),
            *_how(),
        ]

    def outputs() -> list[Any]:
        return [gr.File(label="converted recording, its receipt inside"), gr.JSON(label="facts and receipt")]

    _endpoint(shop, "convert", convert, inputs(), outputs(), "Say what a recording says in another voice.")
    _endpoint(shop, "convert_stream", stream, inputs(), outputs(),
              "The same piece by piece: WAV files as they are ready, then the whole with its facts.")  # fmt: skip


def _how() -> list[Any]:
    return [
        gr.File(label="recordings of the wanted voice; or", file_count="multiple"),
        gr.Textbox("", label="stored or bundled voice, several with weights: ada=0.7, eric=0.3"),
        gr.Textbox("", label="'WHO: FOR WHAT', attests the right to use the voice"),
        gr.Number(0, label="neighbours averaged; 0: as the converter has it"),
        gr.Textbox("auto", label="auto, uniform, distance, variance, continuous, selection, transport or shift"),
        gr.Number(1.0, label="1 is the target, 0 the source"),
        gr.Textbox("target", label="target, source or semitones"),
        gr.Textbox("wav", label="wav, flac or mp3"),
        gr.Textbox("tiny", label="model"),
        gr.Textbox("auto", label="tempo: auto, source, target or times as fast"),
    ]


def _options(k: float, converter: str, interpolation: float, pitch: str, form: str, model: str, tempo: str) -> Options:
    moved = pitch if pitch in ("target", "source") else parts.semitones(pitch)
    return Options(int(k) or None, converter, interpolation, moved, tempo, form, model)


def _say(shop: Workshop) -> None:
    def say(
        text: str,
        references: Any,
        voice: str,
        consent: str,
        speed: float,
        interpolation: float,
        seed: float,
        file_format: str,
        request: gr.Request,
    ) -> tuple[str, str, dict[str, Any]]:
        session = parts.session_of(shop, request)
        try:
            target = _target(shop, session, references, voice)
            *_, made = speaking.say(
                shop, session, text, target, speed=speed, interpolation=interpolation, seed=int(seed),
                form=file_format, leave=_leave(consent),
            )  # fmt: skip
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error
        assert isinstance(made, speaking.Said)
        return str(made.path), str(made.subtitles), made.facts

    _endpoint(
        shop, "say", say,
        [
            gr.Textbox(label="English text"),
            gr.File(label="recordings of the wanted voice; or", file_count="multiple"),
            gr.Textbox("", label="stored or bundled voice"),
            gr.Textbox("", label="'WHO: FOR WHAT'"),
            gr.Number(1.0, label="speed"),
            gr.Number(1.0, label="1 is the target, 0 the text model's speaker"),
            gr.Number(0, label="seed"),
            gr.Textbox("wav", label="wav, flac or mp3"),
        ],
        [gr.File(label="recording"), gr.File(label="subtitles"), gr.JSON(label="facts and receipt")],
        "Say a text in any voice.",
    )  # fmt: skip


def _batch(shop: Workshop) -> None:
    def batch(
        archive: Any,
        references: Any,
        voice: str,
        consent: str,
        k: float,
        converter: str,
        interpolation: float,
        pitch: str,
        file_format: str,
        model: str,
        tempo: str,
        request: gr.Request,
    ) -> tuple[str, list[dict[str, Any]]]:
        session = parts.session_of(shop, request)
        try:
            chosen = _options(k, converter, interpolation, pitch, file_format, model, tempo)
            target = _target(shop, session, references, voice)
            made, rows = batches.convert(shop, session, parts.path(archive), target, chosen, leave=_leave(consent))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error
        return str(made), rows

    _endpoint(
        shop, "batch", batch,
        [
            gr.File(label="zip of recordings"),
            *_how(),
        ],
        [gr.File(label="zip of converted recordings"), gr.JSON(label="what became of each")],
        "Convert every recording of a zip.",
    )  # fmt: skip


def _verify(shop: Workshop) -> None:
    def verify(enrolment: Any, test: Any, request: gr.Request) -> dict[str, Any]:
        try:
            found = listing.verify(shop, parts.session_of(shop, request), parts.paths(enrolment), parts.path(test))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error
        return dataclasses.asdict(found)

    _endpoint(
        shop, "verify", verify,
        [gr.File(label="recordings of the speaker", file_count="multiple"), gr.File(label="recording asked about")],
        [gr.JSON(label="decision")],
        "Say whether a recording is by the speaker of others.",
    )  # fmt: skip


def _speakers(shop: Workshop) -> None:
    def enrol(name: str, recordings: Any, request: gr.Request) -> dict[str, Any]:
        try:
            return listing.enrol(shop, parts.session_of(shop, request), name, parts.paths(recordings))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    def identify(test: Any, request: gr.Request) -> dict[str, Any]:
        try:
            return listing.identify(shop, parts.session_of(shop, request), parts.path(test))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    def speakers(remove: str, request: gr.Request) -> list[dict[str, Any]]:
        session = parts.session_of(shop, request)
        try:
            if remove.strip():
                listing.remove_speaker(shop, session.user, remove.strip())
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error
        return listing.speakers(shop, session.user)

    def calibrate(archive: Any, request: gr.Request) -> dict[str, Any]:
        try:
            return scores.calibrate(shop, parts.session_of(shop, request), parts.path(archive))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    _endpoint(shop, "calibrate", calibrate, [gr.File(label="zip of speaker/recording")],
              [gr.JSON(label="what was fitted")], "Fit probability and threshold to your recordings.")  # fmt: skip
    recordings = gr.File(label="recordings of the speaker", file_count="multiple")
    _endpoint(shop, "enrol", enrol, [gr.Textbox(label="speaker's name"), recordings], [gr.JSON(label="what was added")],
              "Add recordings to a speaker.")  # fmt: skip
    _endpoint(shop, "identify", identify, [gr.File(label="recording asked about")],
              [gr.JSON(label="speaker (null: unknown) and candidates")], "Say which enrolled speaker.")  # fmt: skip
    _endpoint(shop, "speakers", speakers, [gr.Textbox("", label="name of a speaker to remove first")],
              [gr.JSON(label="who is enrolled")], "List the enrolled speakers.")  # fmt: skip


def _units(shop: Workshop) -> None:
    def encode(recording: Any, codebook: str, collapse: bool, request: gr.Request) -> dict[str, Any]:
        session = parts.session_of(shop, request)
        try:
            found = units.encode(shop, session, parts.path(recording), codebook=codebook, collapse=collapse)
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error
        # a client takes whatever is called "path" for a file to download
        found["recording"] = found.pop("path")
        return {**found, "text": units.as_text(found)}

    def speak(written: str, voice: str, codebook: str, request: gr.Request) -> str:
        session = parts.session_of(shop, request)
        try:
            named = _target(shop, session, None, voice).voices
            return str(units.speak(shop, session, written, named[0][0] if named else "", codebook=codebook))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    book = "tiny/100, tiny/200 or tiny/500"
    _endpoint(shop, "units", encode,
              [gr.File(label="recording"), gr.Textbox("tiny/500", label=book), gr.Checkbox(True, label="merge runs")],
              [gr.JSON(label="units, durations, times, text")], "Discrete units of a recording.")  # fmt: skip
    _endpoint(shop, "speak_units", speak,
              [gr.Textbox(label="units"), gr.Textbox(label="voice"), gr.Textbox("tiny/500", label=book)],
              [gr.File(label="recording")], "Say units in a stored or bundled voice.")  # fmt: skip


def _voices(shop: Workshop) -> None:
    def voices(request: gr.Request) -> dict[str, Any]:
        user = parts.session_of(shop, request).user
        bundled = [name.removeprefix(BUNDLED) for name in listing.names(shop, user) if name.startswith(BUNDLED)]
        return {"stored": listing.voices(shop, user), "bundled": bundled}

    def add_voice(name: str, recordings: Any, consent: str, request: gr.Request) -> dict[str, Any]:
        session = parts.session_of(shop, request)
        try:
            return listing.add_voice(shop, session, name, parts.paths(recordings), _leave(consent))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    def remove_voice(name: str, recording: str, request: gr.Request) -> dict[str, Any]:
        user = parts.session_of(shop, request).user
        try:
            listing.remove_voice(shop, user, name, recording)
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error
        return {"removed": name}

    def rename_voice(name: str, new: str, request: gr.Request) -> dict[str, Any]:
        try:
            return listing.rename_voice(shop, parts.session_of(shop, request).user, name, new)
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    def export_voice(name: str, request: gr.Request) -> str:
        try:
            return str(listing.export_voice(shop, parts.session_of(shop, request), name))
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    def import_voice(file: Any, name: str, request: gr.Request) -> dict[str, Any]:
        try:
            return listing.import_voice(shop, parts.session_of(shop, request).user, parts.path(file), name)
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    def report(recordings: Any) -> dict[str, Any]:
        try:
            return listing.report(shop, parts.paths(recordings)).as_dict()
        except SpeechSSLError as error:
            raise _sentence(shop, error) from error

    several = gr.File(label="recordings of one person", file_count="multiple")
    _endpoint(shop, "voices", voices, [], [gr.JSON(label="stored and bundled voices")], "List the voices.")
    _endpoint(shop, "add_voice", add_voice,
              [gr.Textbox(label="name"), several, gr.Textbox("", label="'WHO: FOR WHAT'")],
              [gr.JSON(label="the voice")], "Store a voice, or add recordings to one.")  # fmt: skip
    _endpoint(shop, "remove_voice", remove_voice,
              [gr.Textbox(label="name"), gr.Textbox("", label="only this recording")],
              [gr.JSON(label="what was removed")], "Delete a voice, or one of its recordings.")  # fmt: skip
    _endpoint(shop, "rename_voice", rename_voice, [gr.Textbox(label="name"), gr.Textbox(label="new name")],
              [gr.JSON(label="the voice")], "Give a voice another name.")  # fmt: skip
    _endpoint(shop, "export_voice", export_voice, [gr.Textbox(label="name")], [gr.File(label="voice file")],
              "A stored voice as a file.")  # fmt: skip
    _endpoint(shop, "import_voice", import_voice,
              [gr.File(label="voice file"), gr.Textbox("", label="name; empty for its own")],
              [gr.JSON(label="the voice")], "Take in a voice file.")  # fmt: skip
    _endpoint(shop, "report", report, [gr.File(label="references", file_count="multiple")],
              [gr.JSON(label="report")], "Say what recordings are worth as references.")  # fmt: skip
