"""The API: every handler under a name, for ``gradio_client`` and plain HTTP.

Files come and go as files, everything else as JSON. Input that cannot be used is an error with one sentence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from speechssl.app import fields
from speechssl.app.handlers import batches, conversions, scores, speakers, speaking, targets, units, voices
from speechssl.app.handlers.conversions import Made
from speechssl.app.handlers.targets import BUNDLED, Target
from speechssl.app.refusals import Refused
from speechssl.app.sessions import Session
from speechssl.app.state import State
from speechssl.app.tabs import parts
from speechssl.app.tabs.batch import converter
from speechssl.errors import SpeechSSLError
from speechssl.voices import consent
from speechssl.voices.consent import Consent

Facts = dict[str, Any]
ATTEST = "'WHO: FOR WHAT', attests the right to use the voice"


def add(state: State, tabs: Sequence[str]) -> None:
    """Add the endpoints of these tabs to the page that is being built."""
    groups = {
        "convert": _convert, "batch": _batch, "verify": _verify, "units": _units, "voices": _voices,
        **({"speak": _speak} if speaking.available() else {}),
    }  # fmt: skip
    with gr.Group(visible=False):
        for name, group in groups.items():
            if name in tabs:
                group(state)


def _endpoint(
    state: State, name: str, work: Callable[..., Any], inputs: dict[str, Any], outputs: list[Any], text: str
) -> None:
    """Add one endpoint.

    Args:
        state: sessions, and the folders that no error may show.
        name: of the endpoint.
        work: takes the session of the client and the inputs by name.
        inputs: components by the name of the argument, in order.
        outputs: components.
        text: description.
    """

    def sentence(error: SpeechSSLError) -> gr.Error:
        field = f"{error.field}: " if isinstance(error, Refused) else ""
        return gr.Error(field + state.sentence(error), print_exception=False)

    def once(*values: Any) -> Any:
        *given, request = values
        try:
            return work(parts.session_of(state, request), **dict(zip(inputs, given, strict=True)))
        except SpeechSSLError as error:
            raise sentence(error) from error

    def often(*values: Any) -> Iterator[Any]:
        *given, request = values
        try:
            yield from work(parts.session_of(state, request), **dict(zip(inputs, given, strict=True)))
        except SpeechSSLError as error:
            raise sentence(error) from error

    call: Any = often if inspect.isgeneratorfunction(work) else once
    # Gradio reads the names of the arguments, and where the request goes, from the signature
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call.__signature__ = inspect.Signature([inspect.Parameter(argument, kind) for argument in (*inputs, "request")])
    call.__annotations__ = {"request": gr.Request}
    gr.Button(visible=False).click(
        call, list(inputs.values()), outputs, api_name=name, api_description=text, concurrency_id=parts.WORK,
        concurrency_limit=state.settings.parallel,
    )  # fmt: skip


def _several(label: str) -> Any:
    return gr.File(label=label, file_count="multiple")


# ---- a target, and the options


def _wanted() -> dict[str, Any]:
    """Arguments that say whose voice is wanted."""
    return {
        "references": _several("recordings of the wanted voice; or"),
        "voice": gr.Textbox("", label="stored or bundled voice, several with weights: ada=0.7, eric=0.3"),
        "consent": gr.Textbox("", label=ATTEST),
    }


def _target(state: State, session: Session, references: Any, voice: str) -> Target:
    files = parts.paths(references)
    if files and voice.strip():
        raise Refused("target", "give either references or a voice, not both")
    if files:
        return Target(files=files)
    named = []
    for one in voice.split(",") if voice.strip() else []:
        name, _, share = one.strip().partition("=")
        try:
            weight = float(share) if share else 1.0
        except ValueError:
            raise Refused("target", f"the weight of the voice in {one!r} is no number; write NAME=0.7") from None
        stored = targets.is_bundled(name) or name in state.store.library(session.user)
        named.append((name if stored else f"{BUNDLED}{name}", weight))
    return Target(voices=tuple(named))


def _consent(text: str) -> Consent | None:
    return consent.parse(text) if text.strip() else None


def _read(state: State, session: Session, given: dict[str, Any]) -> tuple[Target, conversions.Options, Consent | None]:
    target = _target(state, session, given["references"], given["voice"])
    return target, fields.options_of(given), _consent(given["consent"])


# ---- the endpoints of each tab


def _convert(state: State) -> None:

    def convert(session: Session, source: Any, **given: Any) -> tuple[str, Facts]:
        target, options, attested = _read(state, session, given)
        with state.jobs.start(session) as job:
            made = conversions.begin(*state.shared, job, source, target, options, consent=attested).convert()
        return str(made.path), made.facts()

    def stream(session: Session, source: Any, **given: Any) -> Iterator[tuple[str, Facts]]:
        target, options, attested = _read(state, session, given)
        number, second = 0, 0.0
        with state.jobs.start(session) as job:
            work = conversions.begin(*state.shared, job, source, target, options, consent=attested)
            for made in work.stream():
                if isinstance(made, Made):
                    yield str(made.path), made.facts()
                    return
                facts = {"piece": number, "second": round(second, 3), "seconds": round(made.seconds, 3)}
                yield str(conversions.write_piece(state.store, session, made, facts)), facts
                number, second = number + 1, second + made.seconds

    def inputs() -> dict[str, Any]:
        return {"source": gr.File(label="recording whose words are kept"), **_wanted(), **fields.arguments()}

    def outputs() -> list[Any]:
        return [gr.File(label="converted recording, its receipt inside"), gr.JSON(label="facts and receipt")]

    _endpoint(state, "convert", convert, inputs(), outputs(), "Say the words of a recording in another voice.")
    _endpoint(state, "convert_stream", stream, inputs(), outputs(),
              "Convert piece by piece: WAV files as they are ready, then the whole with its facts.")  # fmt: skip


def _speak(state: State) -> None:
    def say(
        session: Session, text: str, references: Any, voice: str, consent: str, speed: float, interpolation: float,
        seed: float, file_format: str,
    ) -> tuple[str, str, Facts]:  # fmt: skip
        target = _target(state, session, references, voice)
        reading = speaking.Reading(speed, interpolation, int(seed), file_format)
        with state.jobs.start(session) as job:
            *_, made = speaking.say(*state.shared, job, text, target, reading, consent=_consent(consent))
        assert isinstance(made, speaking.Said)
        return str(made.path), str(made.subtitles), made.facts

    inputs = {
        "text": gr.Textbox(label="English text"),
        **_wanted(),
        "speed": gr.Number(1.0, label="speed; 2 is twice as fast"),
        "interpolation": gr.Number(1.0, label="1 is the target's voice, 0 the text model's own"),
        "seed": gr.Number(0, label="random seed for sound durations"),
        "file_format": gr.Textbox("wav", label="wav, flac or mp3"),
    }
    outputs = [gr.File(label="recording"), gr.File(label="subtitles"), gr.JSON(label="facts and receipt")]
    _endpoint(state, "say", say, inputs, outputs, "Say a text in any voice.")


def _batch(state: State) -> None:
    def batch(session: Session, archive: Any, **given: Any) -> tuple[str, list[Facts]]:
        made, rows = batches.convert(
            session, parts.path(archive), converter(state, session, *_read(state, session, given)),
            most_seconds=state.settings.batch_seconds,
        )  # fmt: skip
        return str(made), rows

    inputs = {"archive": gr.File(label="zip of recordings"), **_wanted(), **fields.arguments()}
    outputs = [gr.File(label="zip of converted recordings"), gr.JSON(label="result of each recording")]
    _endpoint(state, "batch", batch, inputs, outputs, "Convert every recording of a zip.")


def _verify(state: State) -> None:

    def verify(session: Session, enrolment: Any, test: Any) -> Facts:
        with state.jobs.start(session) as job:
            return speakers.verify(*state.shared, job, parts.paths(enrolment), parts.path(test)).as_dict()

    def enrol(session: Session, name: str, recordings: Any) -> Facts:
        with state.jobs.start(session) as job:
            return speakers.enrol(*state.shared, job, name, parts.paths(recordings))

    def identify(session: Session, test: Any) -> Facts:
        with state.jobs.start(session) as job:
            return speakers.identify(*state.shared, job, parts.path(test))

    def enrolled(session: Session, remove: str) -> list[Facts]:
        if remove.strip():
            speakers.remove(state.store, session.user, remove.strip())
        return speakers.listed(state.store, session.user)

    def calibrate(session: Session, archive: Any) -> Facts:
        with state.jobs.start(session) as job:
            return scores.calibrate(state.models, state.store, job, parts.path(archive))

    def recordings() -> Any:
        return _several("recordings of the speaker")

    def test() -> Any:
        return gr.File(label="test recording")

    _endpoint(state, "verify", verify, {"enrolment": recordings(), "test": test()}, [gr.JSON(label="decision")],
              "Decide whether the test recording is by the speaker of the others.")  # fmt: skip
    _endpoint(state, "enrol", enrol, {"name": gr.Textbox(label="speaker's name"), "recordings": recordings()},
              [gr.JSON(label="what was added")], "Add recordings to a speaker.")  # fmt: skip
    _endpoint(state, "identify", identify, {"test": test()},
              [gr.JSON(label="decision (known, unknown or none)")], "Find the enrolled speaker.")  # fmt: skip
    _endpoint(state, "speakers", enrolled, {"remove": gr.Textbox("", label="name of a speaker to remove first")},
              [gr.JSON(label="enrolled speakers")], "List the enrolled speakers.")  # fmt: skip
    _endpoint(state, "calibrate", calibrate, {"archive": gr.File(label="zip of speaker/recording")},
              [gr.JSON(label="the calibration")], "Fit probability and threshold to your recordings.")  # fmt: skip


def _units(state: State) -> None:
    def encode(session: Session, recording: Any, codebook: str, collapse: bool) -> Facts:
        with state.jobs.start(session) as job:
            found = units.encode(
                state.models, state.settings, job, parts.path(recording), codebook=codebook, collapse=collapse
            )
        # a client would download anything called "path"
        found["recording"] = found.pop("path")
        return {**found, "text": units.as_text(found)}

    def speak(session: Session, written: str, voice: str, codebook: str) -> str:
        named = _target(state, session, None, voice).voices
        with state.jobs.start(session) as job:
            return str(
                units.speak(
                    *state.shared, job, written, named[0][0] if named else "",
                    codebook=codebook,
                )
            )  # fmt: skip

    def codebook() -> Any:
        return gr.Textbox("tiny/500", label="tiny/100, tiny/200 or tiny/500")

    _endpoint(state, "units", encode,
              {"recording": gr.File(label="recording"), "codebook": codebook(),
               "collapse": gr.Checkbox(True, label="merge repeated units")},
              [gr.JSON(label="units, durations, times, text")], "Discrete units of a recording.")  # fmt: skip
    _endpoint(state, "speak_units", speak,
              {"written": gr.Textbox(label="units"), "voice": gr.Textbox(label="voice"), "codebook": codebook()},
              [gr.File(label="recording")], "Say units in a stored or bundled voice.")  # fmt: skip


def _voices(state: State) -> None:
    store = state.store

    def listed(session: Session) -> Facts:
        names = targets.names(store, session.user)
        bundled = [targets.plain(name) for name in names if targets.is_bundled(name)]
        return {"stored": voices.listed(store, session.user), "bundled": bundled}

    def add_voice(session: Session, name: str, recordings: Any, consent: str) -> Facts:
        attested = _consent(consent)
        with state.jobs.start(session) as job:
            return voices.add(*state.shared, job, name, parts.paths(recordings), attested)

    def remove(session: Session, name: str, recording: str) -> Facts:
        voices.remove(store, session.user, name, recording)
        return {"removed": name}

    def rename(session: Session, name: str, new: str) -> Facts:
        return voices.rename(store, session.user, name, new)

    def export(session: Session, name: str) -> str:
        return str(voices.export(store, state.settings, session, name))

    def take_in(session: Session, file: Any, name: str) -> Facts:
        return voices.take_in(store, session.user, parts.path(file), name)

    def report(session: Session, recordings: Any) -> Facts:
        return voices.report(state.settings, parts.paths(recordings)).as_dict()

    def name() -> Any:
        return gr.Textbox(label="name")

    def voice() -> list[Any]:
        return [gr.JSON(label="the voice")]

    _endpoint(state, "voices", listed, {}, [gr.JSON(label="stored and bundled voices")], "List the voices.")
    _endpoint(state, "add_voice", add_voice,
              {"name": name(), "recordings": _several("recordings of one person"),
               "consent": gr.Textbox("", label=ATTEST)},
              voice(), "Store a voice, or add recordings to one.")  # fmt: skip
    _endpoint(state, "remove_voice", remove,
              {"name": name(), "recording": gr.Textbox("", label="only this recording")},
              [gr.JSON(label="what was removed")], "Delete a voice, or one of its recordings.")  # fmt: skip
    _endpoint(state, "rename_voice", rename, {"name": name(), "new": gr.Textbox(label="new name")}, voice(),
              "Give a voice another name.")  # fmt: skip
    _endpoint(state, "export_voice", export, {"name": name()}, [gr.File(label="voice file")],
              "Export a stored voice as a file.")  # fmt: skip
    _endpoint(state, "import_voice", take_in,
              {"file": gr.File(label="voice file"), "name": gr.Textbox("", label="name; empty for its own")},
              voice(), "Import a voice file.")  # fmt: skip
    _endpoint(state, "report", report, {"recordings": _several("references")}, [gr.JSON(label="report")],
              "Measure recordings that might become references.")  # fmt: skip
