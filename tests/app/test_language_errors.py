"""Every error of the library that a person may meet on the page has words in each language of the page."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import speechssl
from speechssl.app import languages

PACKAGE = Path(speechssl.__file__).parent
OTHERS = [path.stem for path in languages.WORDS.glob("*.json")]
PLACE = re.compile(r"\{(?:\d+|n|file|words)?\}")
ERRORS = {"InputError", "CheckpointError", "Refused", "Stopped", "Busy", "Overdue"}
NUMBERS = re.compile(r",?(\.\d+)?[dfg]|,")  # formats of numbers
VALUE, NUMBER = "\0", "\1"  # stand for what is known only at work
# texts that are made of others alone, which are looked at where they come from
MADE = (f"{VALUE}: {VALUE}", VALUE, "")
Functions = Mapping[str, ast.FunctionDef]
Constants = Mapping[str, ast.expr]

API = "only a program that calls the API or the WebSocket meets it, and reads English"
CODE = "only code passes such values; the page does not"
COMMAND = "commands and recipes do this, the page does not"
MODEL = "comes after '... cannot be loaded', for whoever chose the model"
DAMAGED = "comes after '... is a damaged voice', for whoever made the file"
BEFORE = "the page checks it before, in other words"
# modules whose errors nobody meets on the page
OUTSIDE = {
    "app.endpoints": API, "app.live": API, "app.page": API, "app.schema": API, "app.server": "there is no page yet",
    "audio.devices": "the page uses the devices of the browser", "audio.f0_tracker": CODE, "audio.given": CODE,
    "audio.levels": CODE, "audio.lists": COMMAND, "audio.names": COMMAND, "audio.search": COMMAND,
    "checkpoints.devices": MODEL, "checkpoints.foreign": COMMAND, "checkpoints.kinds": CODE,
    "checkpoints.published": MODEL, "cli": COMMAND, "conversion.convert": CODE, "conversion.converters.means": CODE,
    "conversion.converters.runs": CODE, "conversion.options": BEFORE, "conversion.predictor": MODEL,
    "conversion.source": CODE, "conversion.steps": CODE, "conversion.streaming": BEFORE,
    "conversion.voice_converter": MODEL, "encoders.__init__": MODEL, "encoders.cepstra": MODEL,
    "encoders.frontends": MODEL, "encoders.live": MODEL, "encoders.network": MODEL, "encoders.precision": MODEL,
    "encoders.weights": MODEL, "encoders.whisper": MODEL, "encoders.windows": BEFORE,
    "receipts.carriers": COMMAND, "receipts.containers": COMMAND, "receipts.playback": COMMAND,
    "receipts.trust": COMMAND, "receipts.watermark": BEFORE, "synthesis.languages": MODEL, "synthesis.model": MODEL,
    "synthesis.network": MODEL, "synthesis.pronunciation": MODEL, "synthesis.say": MODEL,
    "synthesis.synthesizer": CODE, "training": COMMAND, "units.codebooks": MODEL, "units.encoding": COMMAND,
    "units.language": COMMAND, "units.measures": COMMAND, "units.report": COMMAND, "units.runs": BEFORE,
    "verification.by_name": COMMAND, "verification.embedders": MODEL, "verification.metrics": CODE,
    "verification.plda": COMMAND, "verification.scoring": CODE,
    "verification.speech_classifier": "a damaged installation", "vocoders": MODEL, "voices.consent": BEFORE,
    "voices.reference_report": CODE, "voices.similarity": COMMAND, "voices.spectrum": DAMAGED,
    "voices.tempo": DAMAGED,
}  # fmt: skip
# how the other texts that nobody meets there begin
ALONE = {
    API: (
        "app.handlers.live: got ", "app.handlers.recordings: format", "app.handlers.targets: the weight of",
        "app.handlers.units: the codebook", "app.handlers.voices: {} is no JSON", "conversion.live: loudness",
        "conversion.loudness: loudness", "voices.matching_set: {} is the only reference",
        "voices.matching_set: {} references of the voice",
    ),
    CODE: (
        "audio.files: blocks of", "conversion.bundles: {} would hold safetensors", "audio.files: cannot write {} as",
        "audio.files: cannot write {}: it is a folder", "audio.files: cannot write {}: its name",
        "audio.files: cannot write {}: {} ", "audio.files: sample rate", "audio.files: the recording {}: {}",
        "audio.files: {} has {} channel", "checkpoints.files: cannot write {}: its header",
        "conversion.live: a block", "conversion.live: interpolation", "conversion.live: latency",
        "conversion.live: live conversion runs", "conversion.live: {} ", "conversion.loudness: text",
        "conversion.retrieval: queries", "conversion.retrieval: {} {}{} has norm", "signals: embedding has",
        "signals: frame rate", "signals: no origin", "signals: sample rate", "signals: {n}", "signals: {} ",
        "synthesis.front_end: the text is of", "synthesis.subtitles: cannot write",
        "units.decode: no utterances", "units.decode: {} has", "verification.database: a voice print",
        "verification.database: seconds", "verification.decisions: the calibration is of",
        "voices.clips: no clip", "voices.library: {} exists", "voices.notes: setting",
    ),
    COMMAND: (
        "receipts.signing: the receipt", "receipts.signing: {} has no", "receipts.signing: {}: no such",
        "synthesis.lexicon: {} cannot", "units.addresses: addresses", "verification.decisions: {} is not enrolled",
        "verification.trials: {}",
    ),
    BEFORE: (
        "audio.decoding: {} is a folder", "audio.decoding: {} is a pipe", "audio.decoding: {} is an address",
        "audio.files: cannot write {}: samples reach", "checkpoints.files: {} does not exist",
        "checkpoints.files: {} is a folder", "checkpoints.files: {} is a pipe",
        "synthesis.front_end: character", "verification.database: at least one",
        "verification.trials: {n} speaker",
        "voices.building: no reference", "voices.pitch: pitch is",
    ),
    DAMAGED: (
        "checkpoints.names: sha256 is {}; 64", "checkpoints.names: {} is {}; a date", "voices.files: its ",
        "voices.files: {} of", "voices.matching_set: a voice", "voices.matching_set: some frames",
        "voices.notes: seconds", "voices.notes: {} are", "voices.pitch: pitch statistics",
    ),
    MODEL: (
        "checkpoints.files: {} does not fit", "voices.building: reference {}: {} gives numbers",
        "voices.building: {} gives {n} frames",
    ),
    "comes after 'reference ...:'": ("voices.building: it ",),
}  # fmt: skip


@pytest.mark.parametrize("language", OTHERS)
def test_every_error_that_a_person_may_meet_has_words(language: str) -> None:
    is_known = functools.partial(_is_known, _patterns(language))
    left = [f"{module}: {text}" for module, text in sorted(set(errors())) if text not in MADE and not is_known(text)]
    met = [text.replace(VALUE, "{}").replace(NUMBER, "{n}") for text in left if not _outside(text)]
    alone = tuple(one for many in ALONE.values() for one in many)
    assert [one for one in met if not one.startswith(alone)] == []
    assert [one for one in alone if not any(text.startswith(one) for text in met)] == [], "needless"
    assert [one for one in OUTSIDE if not any(_outside(text) == one for text in left)] == [], "needless"


def test_a_text_is_known_only_as_the_page_translates_it() -> None:
    patterns = _patterns("de")
    assert _is_known(patterns, f"{VALUE}: choose another name.")
    assert _is_known(patterns, f"Stopped after {NUMBER} s, the limit here; give shorter recordings")
    assert _is_known(patterns, f"the queue is full: {NUMBER} jobs {VALUE} wait; try again when one of them is done")
    assert not _is_known(patterns, f"{VALUE}: choose any other name")
    assert not _is_known(patterns, f"stopped after {VALUE} or more s, the limit here; give shorter recordings")


Patterns = list[tuple[str, list[str], str, re.Pattern[str]]]


def _patterns(language: str) -> Patterns:
    """Of each key: itself, the kinds of its places, its longest words, and what fits it."""
    found = []
    for key in (key.removesuffix(".").lower() for key in languages.words(language)):
        texts, kinds = PLACE.split(key), PLACE.findall(key)
        whole = "(.+?)".join(map(re.escape, texts))
        found.append((key, kinds, max(texts, key=len), re.compile(whole)))
    return found


def _is_known(patterns: Patterns, text: str) -> bool:
    text = text.removesuffix(".").lower()
    if text in MADE:
        return True
    for _, kinds, part, pattern in patterns:
        if part in text and (fit := pattern.fullmatch(text)):
            pairs = zip(kinds, fit.groups(), strict=True)
            if all(re.fullmatch(f"[{VALUE}{NUMBER}\\W\\d]+", one) or (kind == "{words}" and _is_known(patterns, one))
                   for kind, one in pairs):  # fmt: skip
                return True
    # a key may have words of its own where the error has a value
    own = re.compile(re.escape(text).replace(VALUE, ".*").replace(NUMBER, r"(?:\{n?\}|\d+)"))
    return any(own.fullmatch(key) for key, *_ in patterns)


def _outside(text: str) -> str:
    return next((one for one in OUTSIDE if text.startswith((f"{one}:", f"{one}."))), "")


@functools.cache
def errors() -> list[tuple[str, str]]:
    """Modules and texts of the errors that they raise."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    functions = {node.name: node for tree in trees.values() for node in ast.walk(tree)
                 if isinstance(node, ast.FunctionDef)}  # fmt: skip
    found = []
    for path, tree in trees.items():
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        constants = {node.targets[0].id: node.value for node in tree.body
                     if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}  # fmt: skip
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and _name(call) in ERRORS and call.args:
                said = call.args[-1 if _name(call) == "Refused" else 0]
                found += [(module, text) for text in _texts(said, constants, functions)]
    return found


def _texts(said: ast.expr, constants: Constants, functions: Functions) -> Iterator[str]:
    """What an expression may say; a function of the package says what it returns."""
    if isinstance(said, ast.IfExp):
        yield from (text for one in (said.body, said.orelse) for text in _texts(one, constants, functions))
    elif isinstance(said, ast.Call) and _name(said) in functions:
        for node in ast.walk(functions[_name(said)]):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from _texts(node.value, constants, functions)
    else:
        yield _text(said, constants)


def _text(said: ast.expr, constants: Constants) -> str:
    if isinstance(said, ast.Name):
        said = constants.get(said.id, said)
    if isinstance(said, ast.Constant):
        return said.value if isinstance(said.value, str) else NUMBER
    if isinstance(said, ast.JoinedStr):
        return "".join(_text(one, constants) for one in said.values)
    if isinstance(said, ast.BinOp) and isinstance(said.op, ast.Add):
        return _text(said.left, constants) + _text(said.right, constants)
    if isinstance(said, ast.FormattedValue):
        form = ast.unparse(said.format_spec)[2:-1] if said.format_spec else ""
        is_number = NUMBERS.fullmatch(form) or (isinstance(said.value, ast.Call) and _name(said.value) == "len")
        text = NUMBER if is_number else _text(said.value, constants)
        return repr(text) if said.conversion == ord("r") and text not in (VALUE, NUMBER) else text
    return VALUE


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
