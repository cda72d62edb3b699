"""Subtitles read, refused, and spoken in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

import speechssl
from speechssl.cli import run
from speechssl.errors import InputError
from speechssl.synthesis import dubbing, say, subtitles
from speechssl.synthesis.subtitles import Cue
from speechssl.synthesis.synthesizer import Synthesizer, join
from speechssl.voices.matching_set import MatchingSet

FILM = """1
00:00:01,000 --> 00:00:02,700
<i>Good morning, everybody.</i>

2
00:00:04,000 --> 00:00:07,500
{\\an8}The train to the coast
leaves at half past seven.

3
00:00:08,600 --> 00:00:09,400
It is far too much to be said in less than one second.

4
00:00:12,500 --> 00:00:20,000
People were here.
"""
STARTS = (1.0, 4.0, 8.6, 12.5)


@pytest.fixture
def dub(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[[str], tuple[int, str, str]]:
    """Runs the command on subtitles; returns exit code, stdout and stderr."""

    def call(text: str) -> tuple[int, str, str]:
        (tmp_path / "film.srt").write_text(text, encoding="utf-8")
        code = run(["say", str(tmp_path / "film.srt"), "--voice", "eric", "--output", str(tmp_path / "out.wav"),
                    "--subtitles", str(tmp_path / "out.srt")])  # fmt: skip
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def onsets(path: Path) -> list[float]:
    """Seconds at which sound begins after 0.3 s of silence."""
    samples, rate = soundfile.read(path, dtype="float32")
    step = rate // 200
    loud = torch.from_numpy(samples[: len(samples) // step * step]).reshape(-1, step).square().mean(1).sqrt() > 0.005
    return [i / 200 for i in range(len(loud)) if loud[i] and not loud[max(0, i - 60) : i].any()]


def test_every_cue_begins_within_50_ms_of_its_time_and_misfits_are_told(
    dub: Callable[[str], tuple[int, str, str]], tmp_path: Path
) -> None:
    code, out, remarks = dub(FILM)
    assert (code, "4 cues" in out) == (0, True)
    found = onsets(tmp_path / "out.wav")
    for start in STARTS:
        assert min(abs(one - start) for one in found) < 0.05, (start, found)
    # two fit, one is too long for its time, one is as slow as it may be
    assert len(remarks.splitlines()) == 1
    assert "cue 3 (00:00:08,600) ends 1." in remarks
    assert "read 1.25 times as fast as usual: 0.8 s is too short" in remarks
    titles = subtitles.read((tmp_path / "out.srt").read_text())
    assert [one.start for one in titles] == pytest.approx(STARTS, abs=0.05)
    assert titles[0].end == pytest.approx(2.7, abs=0.05)
    assert titles[1].end == pytest.approx(7.5, abs=0.1)
    assert 13.4 < titles[3].end < 14


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n00:00:01,000 --> 00:00:02,500\nHello.\n\n2\nAgain.", "cue 2: 'Again.' is no line of times"),
        ("1\n00:00:61,000 --> 00:00:62,500\nHello.", "cue 1: '00:00:61,000 --> 00:00:62,500' is no line of times"),
        ("7\n00:00:03,000 --> 00:00:02,500\nHello.", "cue 7: it ends at 00:00:02,500, not after it begins"),
        (f"{FILM}\n5\n00:00:02,000 --> 00:00:04,000\nb", "cue 5: 00:00:02,000 begins before"),
        ("1\n90:00:03,000 --> 90:00:04,000\na", "cue 1: 90:00:03,000 begins more than 30 minutes after"),
        (f"{FILM}\n5\n00:00:22,000 --> 00:00:24,000\nДоброе утро.", "cue 5 (00:00:22,000): 2 of 2 words are in Cyr"),
        ("", "film.srt is empty"),
        ("1\n00:00:01,000 --> 00:00:04,000\n♪\n\n", "has no cue with text"),
    ],
)  # fmt: skip
def test_bad_subtitles_are_refused_in_a_line_that_names_the_cue(
    dub: Callable[[str], tuple[int, str, str]], tmp_path: Path, text: str, message: str
) -> None:
    code, out, error = dub(text)
    assert (code, out) == (2, "")
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out.wav").exists()


def test_subtitles_that_are_missing_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["say", "missing.srt", "--voice", "eric", "--output", str(tmp_path / "out.wav")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_both_formats_are_read() -> None:
    web = "\ufeffWEBVTT - a film\n\nNOTE made by hand\n\nfirst\n00:01.5 --> 00:02.750 align:left\n<v Ada>One.\n"
    web = web.replace("\n", "\r\n")
    assert subtitles.are_in(web)
    assert subtitles.read(web) == [Cue(1, 1.5, 2.75, "One.")]
    assert [one.text for one in subtitles.read(FILM)][:2] == [
        "Good morning, everybody.", "The train to the coast leaves at half past seven.",
    ]  # fmt: skip
    assert subtitles.are_in(FILM)
    assert not subtitles.are_in("An arrow is written\nso:\n-->\n")
    assert not subtitles.are_in("")


def test_cues_that_overlap_are_mixed(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    alone = [Cue(1, 0.5, 1.5, "Hello there you."), Cue(2, 0.5, 1.0, "Good."), Cue(3, 0.9, 1.4, "Yes.")]
    parts = list(dubbing.stream(synthesizer, alone, [voice] * 3))
    whole = join(parts, "").waveform
    rate = whole.sample_rate
    expected = torch.zeros(len(whole.samples))
    for cue in alone:
        (only,) = dubbing.stream(synthesizer, [cue], [voice])
        samples = only.waveform.samples[: len(expected)]
        expected[: len(samples)] += samples
    assert torch.allclose(whole.samples, expected, atol=1e-5)
    # all words are there, each at its time
    starts = {word.text: word.start for word in join(parts, "").words}
    assert {name: starts[name] for name in ("Hello", "Good.", "Yes.")} == pytest.approx(
        {"Hello": 0.5, "Good.": 0.5, "Yes.": 0.9}, abs=1 / rate
    )


def test_each_cue_is_read_as_its_time_asks_within_limits(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    def seconds(shown: float) -> float:
        (only,) = dubbing.stream(synthesizer, [Cue(1, 0.0, shown, "Hello there, good old friend of mine.")], [voice])
        return only.words[-1].end

    shortest, longest = seconds(0.1), seconds(60.0)
    assert longest / shortest == pytest.approx(1.25 / 0.8, rel=0.1)
    for shown in (shortest * 1.1, shortest * 1.3):
        assert seconds(shown) == pytest.approx(shown, rel=0.03)


def test_options_out_of_range(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    with pytest.raises(InputError, match="speed is 9"):
        next(dubbing.stream(synthesizer, [Cue(1, 0, 1, "a")], [voice], speed=9))


def test_the_shipped_model_in_two_voices() -> None:
    made = say.load_synthesizer()
    voices = [made.system.matching_set([speechssl.clip(name).path]) for name in ("eric", "ada")]
    cues = [Cue(1, 0.0, 1.5, "Good morning."), Cue(2, 2.0, 3.5, "Good evening.")]
    first, second = dubbing.stream(made, cues, voices)
    assert first.waveform.seconds == 2.0
    assert second.words[0].start == 0
    assert {one.voice for one in (*first.conversion.attributions, *second.conversion.attributions)} == {
        one.name for one in voices
    }
