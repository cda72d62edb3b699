"""Text spoken as the page does it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechssl import audio
from speechssl.app.handlers import recordings, speaking
from speechssl.app.handlers.speaking import Reading
from speechssl.app.handlers.targets import Target
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused
from speechssl.app.sessions import Session
from speechssl.app.state import Models, Settings, State, Store
from speechssl.receipts import watermark
from speechssl.signals import Waveform
from speechssl.synthesis import subtitles

Shared = tuple[Models, Store, Settings]
ERIC = Target(voices=(("bundled: eric", 1.0),))


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_what_is_heard_first_is_marked_like_the_file(shared: Shared, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark of the tests' own: half as loud."""
    monkeypatch.setattr(recordings, "marks", lambda settings: True)
    monkeypatch.setattr(watermark, "mark", lambda one: Waveform(one.samples * 0.5, one.sample_rate))
    monkeypatch.setattr(watermark, "confidence", lambda one: 1.0)
    text = "Good morning. It rains/pours. 1 and 2."
    *pieces, marked = speaking.say(*shared, job, text, ERIC)
    heard = torch.cat([one.samples for one in pieces])  # type: ignore[union-attr]
    assert isinstance(marked, speaking.Said)
    assert torch.allclose(audio.read(marked.path).samples, heard, atol=2**-15)
    assert marked.receipt["watermark"] == {"name": watermark.NAME, "confidence": 1.0}
    assert marked.path.name == "Good_morning_It_rains_p-eric.wav"
    monkeypatch.undo()
    *_, plain = speaking.say(*shared, job, text, ERIC)
    assert isinstance(plain, speaking.Said)
    assert torch.allclose(audio.read(plain.path).samples / 2, heard, atol=2**-14)
    two = Target(voices=(("bundled: eric", 0.5), ("bundled: ada", 0.5)))
    with pytest.raises(Refused, match="one voice"):
        next(speaking.say(*shared, job, text, two))


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_a_script_is_spoken_by_its_voices_with_its_pauses(shared: Shared, job: Job) -> None:
    *_, alone = speaking.say(*shared, job, "Good morning.", ERIC)
    *pieces, made = speaking.say(*shared, job, "Good morning. [pause 2]\nAda: It rains.", ERIC)
    assert isinstance(alone, speaking.Said)
    assert isinstance(made, speaking.Said)
    assert [one["name"] for one in made.receipt["voices"]] == ["eric", "ada"]
    assert len(made.receipt["consent"]) == 2
    assert made.decision == "not judged as a copy of one voice: several speak"
    assert pieces[0].seconds == pytest.approx(alone.facts["seconds"] + 2, abs=0.01)  # type: ignore[union-attr]
    # the subtitles know of the pause, and nobody reads names and marks aloud
    titles = made.subtitles.read_text()
    assert "It rains." in titles
    assert "Ada" not in titles
    assert "pause" not in titles
    # a voice for everything needs no other
    *_, hers = speaking.say(*shared, job, "ada: It rains.", Target())
    assert isinstance(hers, speaking.Said)
    assert [one["name"] for one in hers.receipt["voices"]] == ["ada"]
    # the result is told and judged as hers, whatever voice was chosen; and silence may come first
    *_, late = speaking.say(*shared, job, "[pause 2]\nada: It rains.", ERIC)
    assert isinstance(late, speaking.Said)
    assert [one.name for one in late.cast] == ["ada"]
    assert late.facts["seconds"] == pytest.approx(hers.facts["seconds"] + 2, abs=0.01)
    assert audio.read(late.path).first(1.9).samples.abs().max() < 0.01
    assert late.subtitles.read_text().splitlines()[1].startswith("00:00:02")


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_the_share_that_is_done_goes_with_the_sentences(shared: Shared, state: State, session: Session) -> None:
    told: list[tuple[float, str]] = []
    with state.jobs.start(session, lambda share, text: told.append((share, text))) as job:
        list(speaking.say(*shared, job, "Yes. " * 20, ERIC))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    (half,) = (share for share, text in told if text == "speaking, sentence 11 of 20")
    assert 0.4 < half < 0.5  # writing and judging come after


def test_a_file_is_a_text_or_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.md").write_bytes("\ufeffGood morning.".encode())
    assert speaking.written(tmp_path / "text.md") == "Good morning."
    (tmp_path / "old.txt").write_bytes("Größe".encode("latin-1"))
    with pytest.raises(Refused, match=r"old\.txt is no text in UTF-8"):
        speaking.written(tmp_path / "old.txt")
    (tmp_path / "book.txt").write_text("a " * speaking.MOST_CHARACTERS)
    with pytest.raises(Refused, match="at most"):
        speaking.written(tmp_path / "book.txt")


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_subtitles_are_spoken_in_time(shared: Shared, job: Job) -> None:
    film = "1\n00:00:01,000 --> 00:00:02,000\nGood morning.\n\n2\n00:00:04,000 --> 00:00:04,300\nIt rains all day.\n"
    *pieces, made = speaking.say(*shared, job, film, ERIC)
    assert isinstance(made, speaking.Said)
    assert len(pieces) == 2
    assert pieces[0].seconds == 4  # type: ignore[union-attr]
    assert audio.read(made.path).seconds == pytest.approx(made.facts["seconds"], abs=0.001)
    assert [one.start for one in subtitles.read(made.subtitles.read_text())] == [1.0, 4.0]
    assert made.remarks[0].startswith("cue 2 (00:00:04,000) ends ")
    assert made.path.name.startswith("Good_morning")


@pytest.mark.parametrize(
    ("film", "message"),
    [
        ("1\n00:00:03,000 --> 00:00:02,000\nHello.", "cue 1: it ends at 00:00:02,000"),
        ("1\n00:01:03,000 --> 00:01:04,000\nHello.", "the subtitles end after 1.1 minutes; at most 1 here"),
    ],
)
def test_subtitles_that_cannot_be_spoken_are_refused(shared: Shared, job: Job, film: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as refused:
        next(speaking.say(*shared, job, film, ERIC))
    assert refused.value.field == "text"


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_a_pronunciation_is_what_is_said_and_not_what_is_written(shared: Shared, job: Job) -> None:
    *_, usual = speaking.say(*shared, job, "A tomato.", ERIC)
    *_, given = speaking.say(*shared, job, "A {tomato|T AH0 M AA1 T OW2}.", ERIC)
    *_, listed = speaking.say(*shared, job, "A tomato.", ERIC, Reading(lexicon="Tomato T AH0 M AA1 T OW2"))
    heard = [audio.read(one.path).samples for one in (usual, given, listed)]  # type: ignore[union-attr]
    assert not torch.equal(heard[0], heard[1])
    assert torch.equal(heard[1], heard[2])
    assert isinstance(given, speaking.Said)
    assert given.subtitles.read_text() == listed.subtitles.read_text()  # type: ignore[union-attr]
    assert "{" not in given.subtitles.read_text()
    for text, lines, field in (("{a|QQ}", "", "text"), ("a", "b QQ", "lexicon"), ("a", "42 B IY1", "lexicon")):
        with pytest.raises(Refused) as raised:
            next(speaking.say(*shared, job, text, ERIC, Reading(lexicon=lines)))
        assert raised.value.field == field
