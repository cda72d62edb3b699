"""One conversion as the page makes it, without the page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from speechssl import audio, checkpoints
from speechssl.app.handlers import conversions
from speechssl.app.handlers.conversions import Made, Options
from speechssl.app.handlers.targets import Target
from speechssl.app.jobs import Job, silent
from speechssl.app.refusals import Refused, Stopped
from speechssl.app.sessions import Session
from speechssl.app.state import Models, Settings, State, Store
from speechssl.conversion import convert as library
from speechssl.receipts import signing
from speechssl.signals import Waveform
from speechssl.verification import by_name, decisions
from speechssl.voices import clips
from speechssl.voices.consent import Consent

Speech = dict[str, Path]
Convert = Callable[..., Made]
Shared = tuple[Models, Store, Settings]
ERIC = Target(voices=(("bundled: eric", 1.0),))


def test_a_conversion_has_a_genuine_receipt_and_is_what_the_library_makes(
    session: Session, convert: Convert, speech: Speech, consent: Consent
) -> None:
    told: list[str] = []
    made = convert(
        speech["source"], Target(files=(speech["reference"],)), consent=consent,
        tell=lambda share, text: told.append(text),
    )  # fmt: skip
    expected = library.convert(speech["source"], [speech["reference"]])
    assert torch.equal(made.conversion.waveform.samples, expected.waveform.samples)
    assert signing.check(made.path).genuine
    (reference,) = made.receipt["voices"][0]["references"]
    assert made.receipt["consent"] == [{**consent.as_dict(), "recordings": [reference["sha256"]]}]
    assert made.receipt["source"]["name"] == "source.wav"
    assert [one["name"] for one in made.receipt["voices"][0]["references"]] == ["reference.wav"]
    assert made.receipt["watermark"] is None
    # what `speechssl verify` says of the same files
    assert isinstance(made.decision, decisions.Decision)
    alone = by_name.verify([speech["reference"]], made.path)
    assert (made.decision.score, made.decision.llr) == (alone.score, alone.llr)
    assert made.decision.threshold_source == alone.threshold_source
    assert "/" not in " ".join(made.decision.remarks)
    assert made.facts()["similarity"]["score"] == pytest.approx(made.decision.score, abs=1e-4)
    assert "converting" in told
    assert session.results[-1]["path"] == made.path


def test_no_cloning_without_consent(session: Session, convert: Convert, speech: Speech) -> None:
    with pytest.raises(Refused, match="Attest first") as caught:
        convert(speech["source"], Target(files=(speech["reference"],)))
    assert caught.value.field == "consent"
    assert not session.results


def test_a_service_without_consent_says_so_in_the_receipt(convert: Convert, speech: Speech, tmp_path: Path) -> None:
    free = State(Settings(voices=tmp_path, speakers=tmp_path / "s.sqlite", consent=False, watermark=False))
    try:
        made = convert(speech["source"], Target(files=(speech["reference"],)), on=free)
        assert "configured without consent" in made.receipt["consent"][0]["statement"]
    finally:
        free.close()


def test_changed_options_encode_nothing_again(
    state: State, convert: Convert, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = convert(speech["source"], ERIC)
    encoder = state.models.system("tiny").encoder

    def never(self: object, waveform: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(type(encoder), "encode", never)
    second = convert(speech["source"], ERIC, Options(k=9, converter="uniform"))
    assert not torch.equal(first.conversion.waveform.samples, second.conversion.waveform.samples)


@pytest.mark.parametrize("form", ["flac", "mp3"])
def test_other_formats_carry_their_receipt(convert: Convert, speech: Speech, form: str) -> None:
    made = convert(speech["source"], ERIC, Options(form=form))
    signing.beside(made.path).unlink()
    assert signing.check(made.path).genuine


@pytest.mark.parametrize(
    ("source", "target", "options", "field"),
    [
        (None, ERIC, Options(), "source"),
        ("empty", ERIC, Options(), "source"),
        ("source", Target(), Options(), "target"),
        ("source", Target(voices=(("nobody", 1.0),)), Options(), "target"),
        ("source", ERIC, Options(k=0), "options"),
        ("source", ERIC, Options(tempo="fast"), "options"),
        ("source", ERIC, Options(form="exe"), "options"),
        ("source", ERIC, Options(model="wavlm-large"), "model"),
        ("source", Target(files=(Path("missing.wav"),)), Options(), "target"),
    ],
)
def test_the_field_that_is_wrong_is_named(convert: Convert, speech: Speech, tmp_path: Path, consent: Consent,
    source: str | None, target: Target, options: Options, field: str) -> None:  # fmt: skip
    (tmp_path / "empty").write_bytes(b"RIFFno audio")
    given = None if source is None else tmp_path / "empty" if source == "empty" else speech[source]
    with pytest.raises(Refused) as caught:
        convert(given, target, options, consent=consent)
    assert caught.value.field == field


def test_cancelled_between_steps(state: State, session: Session, convert: Convert, speech: Speech) -> None:
    with pytest.raises(Stopped, match="cancelled"):
        convert(speech["source"], ERIC, tell=lambda share, text: session.stop())
    assert not session.results
    assert state.jobs.running == 0


def test_cancelled_amid_an_encoding(state: State, session: Session, convert: Convert, tmp_path: Path) -> None:
    """Nothing asks between blocks: the exception comes from outside. Without it the encoding would be finished."""
    noise = torch.randn(16_000 * 58, generator=torch.Generator().manual_seed(0)) * 0.1
    audio.write(tmp_path / "long.wav", Waveform(noise, 16_000))
    told: list[str] = []

    def tell(share: float, text: str) -> None:
        told.append(text)
        if text == "encoding the source":
            threading.Timer(0.2, session.stop).start()

    with pytest.raises(Stopped, match="cancelled"):
        # with its own values, which take seconds
        convert(tmp_path / "long.wav", ERIC, Options(interpolation=0.5), tell=tell)
    assert told[-1] == "encoding the source"
    assert ("source", "tiny", True, checkpoints.sha256_of(tmp_path / "long.wav")) not in state.models.cache
    assert state.jobs.running == 0
    assert not session.results
    # nothing stays behind that would end the next one
    assert convert(clips.clip("dan", "sentence").path, ERIC).receipt["watermark"] is None


def test_a_streamed_conversion_is_heard_in_pieces_and_signed_as_a_whole(
    state: State, session: Session, shared: Shared, tmp_path: Path
) -> None:
    ada = audio.read_mono(clips.clip("ada").path, 16_000).samples
    audio.write(tmp_path / "long.wav", Waveform(torch.cat([ada, ada])[: 16_000 * 40].clone(), 16_000))
    assert conversions.streamable(state.models, tmp_path / "long.wav", Options())
    assert not conversions.streamable(state.models, tmp_path / "long.wav", Options(converter="shift"))
    assert not conversions.streamable(state.models, tmp_path / "long.wav", Options(tempo="target"))
    assert not conversions.streamable(state.models, clips.clip("ada", "sentence").path, Options())
    assert not conversions.streamable(state.models, tmp_path / "missing.wav", Options())
    told: list[str] = []
    job = Job(session, lambda share, text: told.append(text), 600.0)
    *pieces, made = conversions.begin(*shared, job, tmp_path / "long.wav", ERIC).stream()
    assert isinstance(made, conversions.Made)
    assert len(pieces) >= 3
    heard = torch.cat([one.samples for one in pieces])  # type: ignore[union-attr]
    assert torch.allclose(audio.read(made.path).samples, heard, atol=2**-15)
    assert signing.check(made.path).genuine
    assert made.receipt["settings"]["streamed"] is True
    assert made.receipt["settings"]["converter"] == "regression"
    assert isinstance(made.decision, decisions.Decision)
    assert made.facts()["seconds"] == pytest.approx(40, abs=0.1)
    assert session.results[-1]["path"] == made.path
    assert any("of 40 s" in text for text in told)
    coming = conversions.begin(*shared, Job(session, silent, 600.0), tmp_path / "long.wav", ERIC).stream()
    next(coming)
    session.stop()
    with pytest.raises(Stopped, match="cancelled"):
        next(coming)
    assert state.jobs.running == 0


def test_the_sound_comes_before_its_verification(session: Session, shared: Shared, speech: Speech) -> None:
    told: list[str] = []
    job = Job(session, lambda share, text: told.append(text), 600.0)
    coming = conversions.begin(*shared, job, speech["source"], ERIC).heard_first()
    sound = next(coming)
    assert isinstance(sound, Waveform)
    assert told[-1] == "converting"
    (made,) = coming
    assert isinstance(made, Made)
    assert torch.allclose(audio.read(made.path).samples, sound.samples, atol=2**-15)
    assert told[-1] == "verifying"


def test_too_long_a_source_is_refused(convert: Convert, tmp_path: Path) -> None:
    audio.write(tmp_path / "long.wav", Waveform(torch.zeros(61 * 8000), 8000))
    with pytest.raises(Refused, match="at most 60 s"):
        convert(tmp_path / "long.wav", ERIC)


def test_two_results_are_told_apart_by_what_the_name_of_the_voice_leaves_out() -> None:
    one, two = Path("one.wav"), Path("two.wav")
    assert Target(files=(one,)).parts == []
    assert Target(files=(one, two)).parts == ["2 recordings"]
    assert Target(voices=(("bundled: ada", 1.0),)).parts == []
    assert Target(voices=(("bundled: ada", 0.6), ("bundled: eric", 0.2))).parts == ["25% of the second voice"]


def test_what_passes_as_a_voice_is_not_called_music_or_noise(convert: Convert) -> None:
    """The examples of the page."""
    for source, voice in (("ada", "eric"), ("finn", "beth"), ("dan", "cleo")):
        made = convert(clips.clip(source, "sentence").path, Target(voices=((f"bundled: {voice}", 1.0),)))
        assert made.decision.accepted
        assert not [one for one in made.decision.remarks if "music or noise" in one]
