"""The API: every handler under a name, for ``gradio_client`` and plain HTTP.

Files come and go as files, everything else as JSON. Input that cannot be used is an error with one sentence.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from speechssl.app import fields, schema
from speechssl.app.handlers import batches, conversions, scores, speakers, speaking, targets, units, voices
from speechssl.app.handlers.conversions import Made
from speechssl.app.handlers.targets import BUNDLED, Target
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused
from speechssl.app.schema import Argument
from speechssl.app.sessions import Session
from speechssl.app.state import State
from speechssl.app.tabs import parts
from speechssl.app.tabs.batch import converter
from speechssl.voices import consent
from speechssl.voices.consent import Consent

Facts = dict[str, Any]
ATTEST = "who attests the right to use the voice, and for what: 'Ada Smith: an audio book'"


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
    state: State, name: str, work: Callable[..., Any], inputs: dict[str, Argument], outputs: list[Any], text: str
) -> None:
    """Add one endpoint.

    Args:
        state: sessions, jobs, and the folders that no error may show.
        name: of the endpoint.
        work: takes the inputs by name, after a ``job`` if it costs anything, else after the client's ``session``.
        inputs: by the name of the argument, in order.
        outputs: components.
        text: description.
    """
    checked, costs = schema.model(name, inputs), "job" in inspect.signature(work).parameters

    def begin(values: tuple[Any, ...]) -> tuple[Session, Callable[..., Any], Any]:
        *given, request, progress = values
        read = schema.read(checked, inputs, dict(zip(inputs, given, strict=False)))
        return parts.session_of(state, request), functools.partial(work, **read), parts.shown(progress)

    def once(*values: Any) -> Any:
        with parts.told(state, name):
            session, ready, tell = begin(values)
            return state.jobs.run(session, ready, tell) if costs else ready(session)

    def often(*values: Any) -> Iterator[Any]:
        with parts.told(state, name):
            session, ready, tell = begin(values)
            yield from state.jobs.stream(session, ready, tell)

    call: Any = often if inspect.isgeneratorfunction(work) else once
    # Gradio reads the names of the arguments, and where the request and the progress go, from the signature
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    taken = [inspect.Parameter(argument, kind) for argument in (*inputs, "request")]
    taken.append(inspect.Parameter("progress", kind, default=parts.PROGRESS))
    call.__signature__ = inspect.Signature(taken)
    call.__annotations__ = {"request": gr.Request, "progress": gr.Progress}
    state.endpoints[name] = tuple(inputs)
    gr.Button(visible=False).click(
        call, [one.component for one in inputs.values()], outputs, api_name=name, api_description=text,
        concurrency_limit=None, preprocess=False,
    )  # fmt: skip


# ---- a target, and the options


def _wanted() -> dict[str, Argument]:
    """Arguments that say whose voice is wanted."""
    return {
        "references": schema.uploads(
            "recordings of the wanted voice, which need consent; an empty list if voice names one"
        ),
        "voice": schema.text(
            "name of a stored or bundled voice instead of recordings; several with weights: ada=0.7, eric=0.3",
            longest=1000,
        ),
        "consent": schema.text(ATTEST, longest=500),
    }


def _target(state: State, session: Session, files: tuple[Path, ...], voice: str) -> Target:
    if files and voice.strip():
        raise Refused("target", "give either references or a voice, not both")
    if files:
        return Target(files=files)
    return targets.named(state.store, session.user, voice)


def attested(text: str) -> Consent | None:
    """The consent that a client wrote; None if it wrote none."""
    return consent.parse(text) if text.strip() else None


def _read(state: State, session: Session, given: dict[str, Any]) -> tuple[Target, conversions.Options, Consent | None]:
    target = _target(state, session, given["references"], given["voice"])
    return target, fields.options_of(given), attested(given["consent"])


# ---- the endpoints of each tab


def _convert(state: State) -> None:

    def convert(job: Job, source: Path | None, **given: Any) -> tuple[str, Facts]:
        target, options, attested = _read(state, job.session, given)
        made = conversions.begin(*state.shared, job, source, target, options, consent=attested).convert()
        return str(made.path), made.facts()

    def stream(job: Job, source: Path | None, **given: Any) -> Iterator[tuple[str, Facts]]:
        target, options, attested = _read(state, job.session, given)
        number, second = 0, 0.0
        for made in conversions.begin(*state.shared, job, source, target, options, consent=attested).stream():
            if isinstance(made, Made):
                yield str(made.path), made.facts()
                return
            facts = {"piece": number, "second": round(second, 3), "seconds": round(made.seconds, 3)}
            yield str(conversions.write_piece(state.store, job.session, made, number)), facts
            number, second = number + 1, second + made.seconds

    def inputs() -> dict[str, Argument]:
        return {"source": schema.upload("recording whose words are kept"), **_wanted(), **fields.arguments()}

    def outputs() -> list[Any]:
        return [gr.File(label="converted recording, its receipt inside"), gr.JSON(label="facts and receipt")]

    _endpoint(
        state,
        "convert",
        convert,
        inputs(),
        outputs(),
        "Say the words of a recording in another voice. "
        "Example: client.predict(handle_file('recording.wav'), [], 'eric', api_name='/convert')",
    )
    _endpoint(state, "convert_stream", stream, inputs(), outputs(),
              "Convert piece by piece: WAV files as they are ready, then the whole with its facts.")  # fmt: skip


def _speak(state: State) -> None:
    def say(
        job: Job, text: str, references: tuple[Path, ...], voice: str, consent: str, speed: float,
        interpolation: float, seed: float, file_format: str, lexicon: str,
    ) -> tuple[str, str, Facts]:  # fmt: skip
        target = _target(state, job.session, references, voice)
        reading = speaking.Reading(speed, interpolation, int(seed), file_format, lexicon)
        *_, made = speaking.say(*state.shared, job, text, target, reading, consent=attested(consent))
        assert isinstance(made, speaking.Said)
        return str(made.path), str(made.subtitles), made.facts

    inputs = {
        "text": schema.text("English text to say", longest=2 * speaking.MOST_CHARACTERS),
        **_wanted(),
        "speed": schema.number("speed; 2 is twice as fast", 1.0, 0.25, 4),
        "interpolation": schema.number("1 is the target's voice, 0 the text model's own", 1.0, 0, 1),
        "seed": schema.number("random seed for sound durations", 0, 0, 2**31 - 1, whole=True),
        "file_format": schema.text("wav, flac or mp3", "wav"),
        "lexicon": schema.text("pronunciations, one a line: tomato T AH0 M AA1 T OW2", longest=20_000),
    }
    outputs = [gr.File(label="recording"), gr.File(label="subtitles"), gr.JSON(label="facts and receipt")]
    _endpoint(
        state,
        "say",
        say,
        inputs,
        outputs,
        "Say a text in any voice. Example: client.predict('Good morning.', [], 'eric', api_name='/say')",
    )


def _batch(state: State) -> None:
    # every recording is a job
    def batch(session: Session, archive: Path | None, **given: Any) -> tuple[str, list[Facts]]:
        made, rows = batches.convert(
            state.jobs, session, archive, converter(state, *_read(state, session, given)),
            most_seconds=state.settings.batch_seconds,
        )  # fmt: skip
        return str(made), rows

    inputs = {"archive": schema.upload("zip of recordings", "recordings.zip"), **_wanted(), **fields.arguments()}
    outputs = [gr.File(label="zip of converted recordings"), gr.JSON(label="result of each recording")]
    _endpoint(state, "batch", batch, inputs, outputs, "Convert every recording of a zip.")


def _verify(state: State) -> None:

    def verify(job: Job, enrolment: tuple[Path, ...], test: Path | None) -> Facts:
        return speakers.verify(*state.shared, job, enrolment, test).as_dict()

    def enrol(job: Job, name: str, recordings: tuple[Path, ...]) -> Facts:
        return speakers.enrol(*state.shared, job, name, recordings)

    def identify(job: Job, test: Path | None) -> Facts:
        return speakers.identify(*state.shared, job, test)

    def enrolled(session: Session, remove: str) -> list[Facts]:
        if remove.strip():
            speakers.remove(state.store, session.user, remove.strip())
        return speakers.listed(state.store, session.user)

    def calibrate(job: Job, archive: Path | None) -> Facts:
        return scores.calibrate(*state.shared, job, archive)

    def recordings() -> Argument:
        return schema.uploads("recordings of the speaker who is asked for")

    def test() -> Argument:
        return schema.upload("recording whose speaker is in question")

    _endpoint(state, "verify", verify, {"enrolment": recordings(), "test": test()}, [gr.JSON(label="decision")],
              "Decide whether the test recording is by the speaker of the others.")  # fmt: skip
    _endpoint(state, "enrol", enrol, {"name": schema.text("speaker's name"), "recordings": recordings()},
              [gr.JSON(label="what was added")], "Add recordings to a speaker.")  # fmt: skip
    _endpoint(state, "identify", identify, {"test": test()},
              [gr.JSON(label="decision (known, unknown or none)")], "Find the enrolled speaker.")  # fmt: skip
    _endpoint(state, "speakers", enrolled, {"remove": schema.text("name of a speaker to remove first; empty for none")},
              [gr.JSON(label="enrolled speakers")], "List the enrolled speakers.")  # fmt: skip
    _endpoint(
        state,
        "calibrate",
        calibrate,
        {"archive": schema.upload("zip with a folder of recordings for each speaker", "speakers.zip")},
        [gr.JSON(label="the calibration")],
        "Fit probability and threshold to your recordings.",
    )


def _units(state: State) -> None:
    def encode(job: Job, recording: Path | None, codebook: str, collapse: bool) -> Facts:
        found = units.encode(state.models, state.settings, job, recording, codebook=codebook, collapse=collapse)
        # a client would download anything called "path"
        found["recording"] = found.pop("path")
        return {**found, "text": units.as_text(found)}

    def speak(job: Job, written: str, voice: str, codebook: str) -> str:
        named = _target(state, job.session, (), voice).voices
        return str(units.speak(*state.shared, job, written, named[0][0] if named else "", codebook=codebook))

    def codebook() -> Argument:
        return schema.text("codebook: tiny/100, tiny/200 or tiny/500 units", "tiny/500")

    _endpoint(state, "units", encode,
              {"recording": schema.upload("recording"), "codebook": codebook(),
               "collapse": schema.flag("merge repeated units", True)},
              [gr.JSON(label="units, durations, times, text")], "Discrete units of a recording.")  # fmt: skip
    _endpoint(
        state,
        "speak_units",
        speak,
        {
            "written": schema.text("units, as <unit_12><unit_7> or 12 7", longest=200_000),
            "voice": schema.text("name of a stored or bundled voice"),
            "codebook": codebook(),
        },
        [gr.File(label="recording")],
        "Say units in a stored or bundled voice.",
    )


def _name() -> Argument:
    return schema.text("name of the voice")


def _voice() -> list[Any]:
    return [gr.JSON(label="the voice")]


def _voices(state: State) -> None:
    store = state.store

    def listed(session: Session) -> Facts:
        names = targets.names(store, session.user)
        bundled = [targets.plain(name) for name in names if targets.is_bundled(name)]
        return {"stored": voices.listed(store, session.user), "bundled": bundled}

    def add_voice(job: Job, name: str, recordings: tuple[Path, ...], consent: str) -> Facts:
        return voices.add(*state.shared, job, name, recordings, attested(consent))

    def remove(session: Session, name: str, recording: str) -> Facts:
        voices.remove(store, session.user, name, recording)
        return {"removed": name}

    def rename(session: Session, name: str, new: str) -> Facts:
        return voices.rename(store, session.user, name, new)

    def describe(session: Session, name: str, description: str, tags: str, settings: str) -> Facts:
        told = voices.settings_in(settings)
        return voices.note(store, session.user, name, lambda notes: notes.described(
            description, voices.tags_in(tags)).with_settings(told))  # fmt: skip

    def sample(job: Job, name: str) -> str:
        known = targets.names(store, job.session.user)
        return str(voices.sample(*state.shared, job, name if name in known else f"{BUNDLED}{name}"))

    _endpoint(state, "voices", listed, {}, [gr.JSON(label="stored and bundled voices")], "List the voices.")
    _endpoint(state, "add_voice", add_voice,
              {"name": _name(), "recordings": schema.uploads("recordings of one person"),
               "consent": schema.text(ATTEST, longest=500)},
              _voice(), "Store a voice, or add recordings to one.")  # fmt: skip
    _endpoint(state, "remove_voice", remove,
              {"name": _name(),
               "recording": schema.text("only this recording of the voice; empty for the whole voice")},
              [gr.JSON(label="what was removed")], "Delete a voice, or one of its recordings.")  # fmt: skip
    _endpoint(state, "rename_voice", rename, {"name": _name(), "new": schema.text("new name of the voice")}, _voice(),
              "Give a voice another name.")  # fmt: skip
    _endpoint(
        state,
        "describe_voice",
        describe,
        {
            "name": _name(),
            "description": schema.text("one line", longest=500),
            "tags": schema.text("words with commas between them", longest=500),
            "settings": schema.text('options that suit the voice, as JSON: {"pitch": "-2"}', longest=500),
        },
        _voice(),
        "Describe a stored voice; what was said before is replaced.",
    )
    _endpoint(state, "sample_voice", sample, {"name": schema.text("name of a stored or bundled voice")},
              [gr.File(label="recording")], "Hear a voice for a few seconds.")  # fmt: skip
    _voice_files(state)


def _voice_files(state: State) -> None:
    def export(session: Session, name: str) -> str:
        return str(voices.export(state.store, state.settings, session, name))

    def take_in(job: Job, file: Path | None, name: str) -> Facts:
        return voices.take_in(state.store, job.session.user, file, name)

    def report(job: Job, recordings: tuple[Path, ...]) -> Facts:
        return voices.report(state.settings, recordings).as_dict()

    _endpoint(state, "export_voice", export, {"name": _name()}, [gr.File(label="voice file")],
              "Export a stored voice as a file.")  # fmt: skip
    _endpoint(
        state,
        "import_voice",
        take_in,
        {
            "file": schema.upload("voice file that speechssl exported", "voice.safetensors"),
            "name": schema.text("name of the voice; empty for its own"),
        },
        _voice(),
        "Import a voice file.",
    )
    _endpoint(
        state,
        "report",
        report,
        {"recordings": schema.uploads("recordings that might become references")},
        [gr.JSON(label="report")],
        "Measure recordings that might become references.",
    )
