"""What the page does, without the page: plain functions."""

from __future__ import annotations

import itertools
import threading
import time
import zipfile
from pathlib import Path

import pytest
import torch

from speechssl import audio, checkpoints
from speechssl.app import jobs, pictures, sessions
from speechssl.app.handlers import batches, conversions, listing, scores, speaking, units
from speechssl.app.handlers.conversions import Options, Target
from speechssl.app.sessions import Session, Sessions, Stopped
from speechssl.app.state import Refused, Settings, Workshop
from speechssl.conversion import convert
from speechssl.errors import InputError
from speechssl.receipts import signing, watermark
from speechssl.signals import Waveform
from speechssl.verification import decisions
from speechssl.voices import clips, consent

Speech = dict[str, Path]
ERIC = Target(voices=(("bundled: eric", 1.0),))


@pytest.fixture
def session(shop: Workshop) -> Session:
    return shop.sessions.get(None)


@pytest.fixture
def leave() -> consent.Consent:
    return consent.attest("Ada Smith", "a test")


# ---- convert


def test_a_conversion_has_a_genuine_receipt_and_is_what_the_library_makes(
    shop: Workshop, session: Session, speech: Speech, leave: consent.Consent
) -> None:
    told: list[str] = []
    made = conversions.convert(
        shop, session, speech["source"], Target(files=(speech["reference"],)), leave=leave,
        tell=lambda share, text: told.append(text),
    )  # fmt: skip
    expected = convert.convert(speech["source"], [speech["reference"]])
    assert torch.equal(made.conversion.waveform.samples, expected.waveform.samples)
    assert signing.check(made.path).genuine
    assert made.receipt["consent"] == [leave.as_dict()]
    assert made.receipt["source"]["name"] == "source.wav"
    assert [one["name"] for one in made.receipt["voices"][0]["references"]] == ["reference.wav"]
    assert made.receipt["watermark"] is None
    # what `speechssl verify` says of the same files
    assert made.decision is not None
    alone = decisions.verify_files([speech["reference"]], made.path)
    assert (made.decision.score, made.decision.llr) == (alone.score, alone.llr)
    assert made.decision.threshold_source == alone.threshold_source
    assert "/" not in " ".join(made.decision.remarks)
    assert made.facts()["similarity"]["score"] == pytest.approx(made.decision.score, abs=1e-4)
    assert "converting" in told
    assert session.results[-1]["path"] == made.path


def test_no_cloning_without_leave(shop: Workshop, session: Session, speech: Speech) -> None:
    with pytest.raises(Refused, match="Attest first") as caught:
        conversions.convert(shop, session, speech["source"], Target(files=(speech["reference"],)))
    assert caught.value.field == "consent"
    assert not session.results


def test_a_service_without_consent_says_so_in_the_receipt(speech: Speech, shop: Workshop, tmp_path: Path) -> None:
    free = Workshop(Settings(voices=tmp_path, speakers=tmp_path / "s.sqlite", consent=False, watermark=False))
    try:
        session = free.sessions.get("a")
        made = conversions.convert(free, session, speech["source"], Target(files=(speech["reference"],)))
        assert "configured without consent" in made.receipt["consent"][0]["statement"]
    finally:
        free.close()


def test_changed_options_encode_nothing_again(
    shop: Workshop, session: Session, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = conversions.convert(shop, session, speech["source"], ERIC)
    encoder = shop.system("tiny").encoder

    def never(self: object, waveform: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(type(encoder), "encode", never)
    second = conversions.convert(shop, session, speech["source"], ERIC, Options(k=9, converter="uniform"))
    assert not torch.equal(first.conversion.waveform.samples, second.conversion.waveform.samples)


@pytest.mark.parametrize("form", ["flac", "mp3"])
def test_other_formats_carry_their_receipt(shop: Workshop, session: Session, speech: Speech, form: str) -> None:
    made = conversions.convert(shop, session, speech["source"], ERIC, Options(form=form))
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
def test_the_field_that_is_wrong_is_named(
    shop: Workshop, session: Session, speech: Speech, tmp_path: Path, leave: consent.Consent,
    source: str | None, target: Target, options: Options, field: str,
) -> None:  # fmt: skip
    (tmp_path / "empty").write_bytes(b"RIFFno audio")
    given = None if source is None else tmp_path / "empty" if source == "empty" else speech[source]
    with pytest.raises(Refused) as caught:
        conversions.convert(shop, session, given, target, options, leave=leave)
    assert caught.value.field == field


def test_cancelled_between_steps(shop: Workshop, session: Session, speech: Speech) -> None:
    with pytest.raises(Stopped, match="cancelled"):
        conversions.convert(shop, session, speech["source"], ERIC, tell=lambda share, text: session.stop())
    assert not session.results
    assert shop.running == 0


def test_cancelled_amid_an_encoding(shop: Workshop, session: Session, tmp_path: Path) -> None:
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
        conversions.convert(shop, session, tmp_path / "long.wav", ERIC, Options(interpolation=0.5), tell=tell)
    assert told[-1] == "encoding the source"
    sources = [key[-1] for key in shop._cache if key[0] == "source"]
    assert checkpoints.sha256_of(tmp_path / "long.wav") not in sources
    assert shop.running == 0
    assert not session.results
    # nothing stays behind that would end the next one
    assert conversions.convert(shop, session, clips.clip("dan", "sentence").path, ERIC).receipt["watermark"] is None


def test_cancelling_ends_what_ran_and_nothing_that_begins_later(tmp_path: Path) -> None:
    busy = Workshop(Settings(), folder=tmp_path)
    session = busy.sessions.get("a")
    with busy.job(session) as early:
        session.stop()
        with busy.job(session) as late:
            late(0.5, "goes on")
            with pytest.raises(Stopped, match="cancelled"):
                early(0.5, "ends, though another one has begun")


def test_interrupted_computations_leave_their_threads_alone() -> None:
    reasons = [""]
    with jobs._interruptible(lambda: reasons[0]):
        assert sum(range(1000)) == 499_500
    reasons[0] = "enough"
    with pytest.raises(Stopped, match="enough"), jobs._interruptible(lambda: reasons[0]):
        all(time.sleep(0.01) is None for _ in itertools.count())
    with pytest.raises(ZeroDivisionError), jobs._interruptible(lambda: ""):
        raise ZeroDivisionError
    for _ in range(1000):
        time.sleep(0.0001)


def test_a_streamed_conversion_is_heard_in_pieces_and_signed_as_a_whole(
    shop: Workshop, session: Session, tmp_path: Path
) -> None:
    ada = audio.read_mono(clips.clip("ada").path, 16_000).samples
    audio.write(tmp_path / "long.wav", Waveform(torch.cat([ada, ada])[: 16_000 * 40].clone(), 16_000))
    assert conversions.streamable(shop, tmp_path / "long.wav", Options())
    assert not conversions.streamable(shop, tmp_path / "long.wav", Options(converter="shift"))
    assert not conversions.streamable(shop, tmp_path / "long.wav", Options(tempo="target"))
    assert not conversions.streamable(shop, clips.clip("ada", "sentence").path, Options())
    assert not conversions.streamable(shop, tmp_path / "missing.wav", Options())
    told: list[str] = []
    *pieces, made = conversions.stream(
        shop, session, tmp_path / "long.wav", ERIC, tell=lambda share, text: told.append(text)
    )
    assert isinstance(made, conversions.Made)
    assert len(pieces) >= 3
    heard = torch.cat([one.samples for one in pieces])  # type: ignore[union-attr]
    assert torch.allclose(audio.read(made.path).samples, heard, atol=2**-15)
    assert signing.check(made.path).genuine
    assert made.receipt["settings"]["streamed"] is True
    assert made.receipt["settings"]["converter"] == "variance"
    assert made.decision is not None
    assert made.facts()["seconds"] == pytest.approx(40, abs=0.1)
    assert session.results[-1]["path"] == made.path
    assert any("of 40 s" in text for text in told)
    coming = conversions.stream(shop, session, tmp_path / "long.wav", ERIC)
    next(coming)
    session.stop()
    with pytest.raises(Stopped, match="cancelled"):
        next(coming)
    assert shop.running == 0


def test_a_closing_service_takes_no_job_and_waits_for_those_it_has(tmp_path: Path) -> None:
    closing = Workshop(Settings(), folder=tmp_path)
    session = closing.sessions.get("a")
    with closing.job(session) as step:
        assert not closing.drain(0.1)
        step(0.5, "still running")
    assert closing.drain(0.1)
    with pytest.raises(Stopped, match="closing"), closing.job(session):
        pass


def test_a_job_ends_when_its_time_is_over(tmp_path: Path) -> None:
    short = Workshop(Settings(job_seconds=0.0), folder=tmp_path)
    with short.job(short.sessions.get("a")) as step:
        time.sleep(0.01)
        with pytest.raises(Stopped, match="the limit here"):
            step(0.5, "late")


def test_too_long_a_source_is_refused(shop: Workshop, session: Session, tmp_path: Path) -> None:
    audio.write(tmp_path / "long.wav", Waveform(torch.zeros(61 * 8000), 8000))
    with pytest.raises(Refused, match="at most 60 s"):
        conversions.convert(shop, session, tmp_path / "long.wav", ERIC)


# ---- voices


def test_a_stored_voice_keeps_its_consent_and_can_be_verified(
    shop: Workshop, session: Session, speech: Speech, leave: consent.Consent
) -> None:
    with pytest.raises(Refused, match="Attest first"):
        listing.add_voice(shop, session, "me", [speech["other"]], None)
    made = listing.add_voice(shop, session, "me", [speech["other"]], leave)
    assert made["consents"] == [leave.as_dict()]
    converted = conversions.convert(
        shop, session, speech["source"], Target(voices=(("me", 0.5), ("bundled: eric", 0.5)))
    )
    assert converted.receipt["consent"][0] == leave.as_dict()
    assert [one["share"] for one in converted.receipt["voices"]] == [0.5, 0.5]
    alone = conversions.convert(shop, session, speech["source"], Target(voices=(("me", 1.0),)))
    compared = decisions.verify_files([speech["other"]], alone.path)
    assert alone.decision is not None
    assert (alone.decision.score, alone.decision.llr) == pytest.approx((compared.score, compared.llr))
    assert converted.decision is not None
    exported = listing.export_voice(shop, session, "me")
    assert listing.rename_voice(shop, "", "me", "her")["name"] == "her"
    # its prints go with it
    renamed = conversions.convert(shop, session, speech["source"], Target(voices=(("her", 1.0),)))
    assert renamed.decision is not None
    assert renamed.decision.llr == alone.decision.llr
    assert listing.import_voice(shop, "", exported)["consents"] == [leave.as_dict()]
    assert listing.names(shop)[:2] == ["her", "me"]
    listing.remove_voice(shop, "", "her")
    listing.remove_voice(shop, "", "me")
    assert listing.voices(shop) == []
    for work in (
        lambda: listing.rename_voice(shop, "", "me", "you"),
        lambda: listing.remove_voice(shop, "", "me"),
        lambda: listing.import_voice(shop, "", speech["source"]),
        lambda: listing.import_voice(shop, "", None),
        lambda: listing.add_voice(shop, session, "../../evil", [speech["other"]], leave),
    ):
        with pytest.raises(Refused):
            work()


def test_users_have_voices_and_speakers_of_their_own(shop: Workshop, speech: Speech, leave: consent.Consent) -> None:
    ada, eve = shop.sessions.get("same key", "ada"), shop.sessions.get("same key", "eve")
    assert ada is not eve
    listing.add_voice(shop, ada, "mine", [speech["other"]], leave)
    assert [one["name"] for one in listing.voices(shop, "ada")] == ["mine"]
    assert listing.voices(shop, "eve") == []
    listing.enrol(shop, ada, "Ada", [speech["other"]])
    assert listing.speakers(shop, "eve") == []


def test_voices_and_speakers_survive_a_restart(
    shop: Workshop, session: Session, speech: Speech, leave: consent.Consent, tmp_path: Path
) -> None:
    listing.add_voice(shop, session, "kept", [speech["other"]], leave)
    listing.enrol(shop, session, "Kept", [speech["other"]])
    again = Workshop(shop.settings, folder=tmp_path)
    assert [one["name"] for one in listing.voices(again)] == ["kept"]
    assert [one["speaker"] for one in listing.speakers(again)] == ["Kept"]
    listing.remove_voice(again, "", "kept")
    listing.remove_speaker(again, "", "Kept")


def test_what_is_said_has_no_folder_of_this_machine(shop: Workshop) -> None:
    for text, kept in (
        (f"{shop.folder}/gradio/{'0' * 64}/my talk.wav is not audio", "my talk.wav is not audio"),
        ("nobody in /srv/private/speakers.sqlite with tiny/6", "nobody in speakers.sqlite with tiny/6"),
        ("see https://huggingface.co/facebook/hubert-base/x", "see https://huggingface.co/facebook/hubert-base/x"),
        ("either/or at 1/2", "either/or at 1/2"),
    ):  # fmt: skip
        assert listing.said(InputError(text), shop) == kept


def test_reports_need_recordings(shop: Workshop, speech: Speech) -> None:
    assert listing.report(shop, [speech["reference"]]).speech_seconds > 5
    with pytest.raises(Refused):
        listing.report(shop, [])


# ---- who is speaking


def test_verify_enrol_identify(shop: Workshop, session: Session, speech: Speech) -> None:
    same = listing.verify(shop, session, [speech["reference"]], speech["reference"])
    other = listing.verify(shop, session, [speech["reference"]], speech["source"])
    assert same.accepted is True
    assert other.accepted is False
    with pytest.raises(Refused, match="nobody is enrolled"):
        listing.identify(shop, session, speech["other"])
    assert listing.enrol(shop, session, "Beth", [speech["other"]])["new"] == 1
    assert listing.identify(shop, session, speech["other"])["speaker"] == "Beth"
    assert listing.identify(shop, session, speech["source"])["speaker"] is None
    assert listing.remove_speaker(shop, "", "Beth") == 1
    for work in (
        lambda: listing.verify(shop, session, [], speech["other"]),
        lambda: listing.verify(shop, session, [speech["other"]], None),
        lambda: listing.enrol(shop, session, " ", [speech["other"]]),
        lambda: listing.enrol(shop, session, "Beth", []),
        lambda: listing.identify(shop, session, None),
        lambda: listing.remove_speaker(shop, "", "Beth"),
    ):
        with pytest.raises(Refused):
            work()


def test_calibration_on_a_zip_of_speakers(shop: Workshop, session: Session, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "speakers.zip", "w") as zipped:
        for voice in ("ada", "beth", "cleo", "dan", "eric", "finn"):
            whole = audio.read_mono(clips.clip(voice).path, 16_000).samples
            for number in range(3):
                place = tmp_path / f"{voice}{number}.wav"
                audio.write(place, Waveform(whole[number * 80_000 : (number + 1) * 80_000].clone(), 16_000))
                zipped.write(place, f"all/{voice}/{number}.wav")
    found = scores.calibrate(shop, session, tmp_path / "speakers.zip")
    assert found["targets"] == 18
    assert found["eer"] < 0.3
    assert shop.calibration().source == "speakers"  # type: ignore[union-attr]
    with pytest.raises(Refused):
        scores.calibrate(shop, session, None)


# ---- units


def test_units_there_and_back(shop: Workshop, session: Session, speech: Speech) -> None:
    record = units.encode(shop, session, speech["source"], codebook="tiny/100")
    text = units.as_text(record)
    assert units.parse(text) == record["units"]
    assert units.parse("12, 7 7") == [12, 7, 7]
    assert record["end"][-1] == pytest.approx(sum(record["durations"]) / 50)
    made = units.speak(shop, session, text, "bundled: beth", codebook="tiny/100", durations=record["durations"])
    assert audio.info(made).seconds == pytest.approx(2.0, abs=0.1)
    assert signing.check(made).genuine
    assert units.write(session, record).read_text().count("\n") == 1
    for work in (
        lambda: units.encode(shop, session, None),
        lambda: units.encode(shop, session, speech["source"], codebook="/etc/passwd"),
        lambda: units.speak(shop, session, "<unit_x>", "bundled: beth"),
        lambda: units.speak(shop, session, "100", "bundled: beth", codebook="tiny/100"),
        lambda: units.speak(shop, session, "1 2", ""),
    ):
        with pytest.raises(Refused):
            work()


# ---- speak


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_what_is_heard_first_is_marked_like_the_file(
    shop: Workshop, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark of the tests' own: half as loud."""
    monkeypatch.setattr(conversions, "marks", lambda shop: True)
    monkeypatch.setattr(watermark, "mark", lambda one: Waveform(one.samples * 0.5, one.sample_rate))
    monkeypatch.setattr(watermark, "confidence", lambda one: 1.0)
    text = "Good morning. It rains/pours. 1 and 2."
    *pieces, marked = speaking.say(shop, session, text, ERIC)
    heard = torch.cat([one.samples for one in pieces])  # type: ignore[union-attr]
    assert isinstance(marked, speaking.Said)
    assert torch.allclose(audio.read(marked.path).samples, heard, atol=2**-15)
    assert marked.receipt["watermark"] == {"name": watermark.NAME, "confidence": 1.0}
    assert marked.path.name == "Good_morning_It_rains_p-eric.wav"
    monkeypatch.undo()
    *_, plain = speaking.say(shop, session, text, ERIC)
    assert isinstance(plain, speaking.Said)
    assert torch.allclose(audio.read(plain.path).samples / 2, heard, atol=2**-14)
    two = Target(voices=(("bundled: eric", 0.5), ("bundled: ada", 0.5)))
    with pytest.raises(Refused, match="one voice"):
        next(speaking.say(shop, session, text, two))


# ---- pictures


def test_pictures_name_every_unit_and_claim_no_certainty() -> None:
    noise = Waveform(torch.randn(8000, generator=torch.Generator().manual_seed(0)), 16_000)
    marks = [(0.02 * i, 0.02 * i + 0.02, f"{100 + i} from somewhere") for i in range(25)]
    drawn = pictures.spectrogram(noise, "units", marks=marks)
    assert all(f">{100 + i}</text>" in drawn for i in range(25))
    long = pictures.spectrogram(Waveform(noise.samples.repeat(8), 16_000), "units", marks=marks)
    assert 'class="scrolled" tabindex="0"' in long
    facts = {"score": 0.9, "scoring": "cosine", "llr": 20.0, "prior": 0.5, "accepted": True, "threshold": 0.6,
             "threshold_source": "given <b>", "origin": "tiny", "remarks": ("talk.wav: short",)}  # fmt: skip
    shown = pictures.verdict(decisions.Decision(probability=0.9999, **facts), ("Yes", "No"))  # type: ignore[arg-type]
    assert "more than 99 %" in shown
    assert "<b>" not in shown
    assert "talk.wav: short." in shown
    assert "Broken.wav" not in pictures.problem("broken.wav is no audio")


# ---- batch


def test_a_batch_goes_on_after_a_bad_recording(
    shop: Workshop, session: Session, speech: Speech, tmp_path: Path
) -> None:
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(speech["source"], "../../a/one.wav")
        zipped.writestr("b/two.wav", b"no audio")
        zipped.writestr("notes.txt", b"hello")
        zipped.writestr("__MACOSX/one.wav", b"")
    made, rows = batches.convert(shop, session, archive, ERIC)
    assert [bool(row["error"]) for row in rows] == [False, True]
    assert "two.wav" in rows[1]["error"]
    with zipfile.ZipFile(made) as zipped:
        names = zipped.namelist()
        assert names == [rows[0]["output"], "results.csv"]
        (tmp_path / names[0]).write_bytes(zipped.read(names[0]))
    assert signing.check(tmp_path / names[0]).genuine


def test_a_batch_is_made_as_asked_and_ends_when_it_is_cancelled(
    shop: Workshop, session: Session, speech: Speech, tmp_path: Path
) -> None:
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(speech["source"], "a/one.wav")
        zipped.write(speech["source"], "b/one.wav")
    _, rows = batches.convert(shop, session, archive, ERIC, Options(k=7, converter="uniform", form="flac"))
    assert [row["converter"] for row in rows] == ["uniform", "uniform"]
    assert session.results[-1]["receipt"]["settings"]["k"] == 7
    assert {Path(row["output"]).suffix for row in rows} == {".flac"}
    assert len({row["output"] for row in rows}) == 2

    def tell(share: float, text: str) -> None:
        # between the two: the last report of the first
        if text.endswith("a/one.wav: verifying"):
            session.stop()

    with pytest.raises(Stopped, match="cancelled"):
        batches.convert(shop, session, archive, ERIC, tell=tell)


def test_a_recording_of_a_batch_that_takes_too_long_does_not_end_it(
    shop: Workshop, session: Session, speech: Speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(speech["source"], "slow.wav")
        zipped.write(speech["source"], "fast.wav")
    real = conversions.convert

    def slow(shop: Workshop, session: Session, path: Path, *rest: object, **more: object) -> conversions.Made:
        if "slow" in path.name:
            raise Stopped("stopped after 600 s, the limit here")
        return real(shop, session, path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(conversions, "convert", slow)
    _, rows = batches.convert(shop, session, archive, ERIC)
    assert [row["error"] for row in rows] == ["stopped after 600 s, the limit here", ""]
    few = Workshop(Settings(batch_seconds=3.0), folder=tmp_path)
    with pytest.raises(Refused, match="minutes of recordings"):
        batches.convert(few, few.sessions.get("a"), archive, ERIC)


def test_what_is_no_zip_of_recordings_is_refused(
    shop: Workshop, session: Session, speech: Speech, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as zipped:
        zipped.writestr("notes.txt", b"hello")
    for archive in (None, speech["source"], tmp_path / "none.zip"):
        with pytest.raises(Refused) as caught:
            batches.convert(shop, session, archive, ERIC)
        assert caught.value.field == "archive"


def test_a_zip_that_lies_about_its_size_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "big.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("zeros.wav", bytes(10_000_000))
    monkeypatch.setattr(batches, "MOST_BYTES", 1_000_000)
    with pytest.raises(InputError, match="at most"):
        batches.unpack(tmp_path / "big.zip", tmp_path)


# ---- sessions


def test_idle_sessions_vanish_with_their_files(tmp_path: Path) -> None:
    found = Sessions(tmp_path, keep_seconds=0.0)
    session = found.get("key")
    place = session.place("a/../../b c", ".wav")
    assert place.name == "b_c.wav"
    assert tmp_path in place.parents
    # a second one has another name, so that the two can be told apart after a download
    assert session.place("b c", ".wav").name == "b_c-2.wav"
    assert session.place("b c", ".flac").name == "b_c.flac"
    place.write_bytes(b"x")
    assert found.get("key") is session
    time.sleep(0.01)
    assert found.expire() == 1
    assert not place.exists()
    assert found.get("key") is not session


@pytest.mark.parametrize(("name", "kept"), [("../../etc/passwd", "passwd"), ("a b?.wav", "a_b"), ("", "speech")])
def test_names_of_others_become_harmless(name: str, kept: str) -> None:
    assert sessions.harmless(name) == kept
