"""Text to sound in a voice, with a random text model: timing, options, errors."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.synthesis import subtitles
from speechssl.synthesis.model import TextModel
from speechssl.synthesis.synthesizer import PAUSE, Synthesizer, TimedWord, finished
from speechssl.voices.matching_set import MatchingSet

TEXT = "Good morning. It costs $3.50, Dr. Smith!"


def test_sentences_come_one_by_one_and_join_to_the_whole(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    parts = list(synthesizer.stream(TEXT, voice))
    whole = synthesizer.say(TEXT, voice)
    assert [part.text for part in parts] == ["Good morning", "It costs $3.50, Dr. Smith"]
    assert torch.equal(whole.waveform.samples, torch.cat([part.waveform.samples for part in parts]))
    assert whole.waveform.sample_rate == 16_000
    assert whole.waveform.seconds == pytest.approx(sum(len(p.prediction.durations) for p in parts) * 0.08, rel=0.7)


def test_words_are_written_as_in_the_text_and_follow_each_other(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    spoken = synthesizer.say(TEXT, voice)
    assert [word.text for word in spoken.words] == TEXT.split()
    edges = [second for word in spoken.words for second in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] == pytest.approx(spoken.waveform.seconds - PAUSE, abs=0.01)


def test_it_can_be_sent_to_another_process(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    (wanted,) = synthesizer.stream("Good morning.", voice)
    for other in (pickle.loads(pickle.dumps(synthesizer)), copy.deepcopy(synthesizer)):  # noqa: S301 of our own
        (found,) = other.stream("Good morning.", voice)
        torch.testing.assert_close(found.waveform.samples, wanted.waveform.samples, rtol=0, atol=0)


def test_a_seed_speaks_the_same_and_another_does_not(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    one, same, other = (synthesizer.say(TEXT, voice, seed=seed, variation=1.0) for seed in (1, 1, 2))
    assert torch.equal(one.waveform.samples, same.waveform.samples)
    assert [w.end for w in one.words] != [w.end for w in other.words]


def test_speed_changes_the_length(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    slow, fast = (synthesizer.say(TEXT, voice, speed=speed).waveform.seconds for speed in (0.5, 2.0))
    assert slow / fast == pytest.approx(4, rel=0.25)


def test_interpolation_blends_the_voices(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    assert synthesizer.speaker is not None
    spoken = [synthesizer.say("Good morning.", voice, interpolation=part).conversion for part in (0.0, 0.25, 1.0)]
    own, blend, target = (one.features.frames for one in spoken)
    assert torch.allclose(blend, 0.75 * own + 0.25 * target, atol=1e-3)
    assert [len(one.attributions) for one in spoken] == [1, 2, 1]


def test_interpolation_needs_a_voice_to_start_from(
    text_model: TextModel, system: VoiceConverter, voice: MatchingSet
) -> None:
    alone = Synthesizer(text_model, system)
    assert alone.say("One.", voice).waveform.seconds > 0.1
    with pytest.raises(InputError, match="without the voice of its speaker"):
        alone.say("One.", voice, interpolation=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolation": 1.5}, "interpolation is 1.5; between 0"),
        ({"speed": 0}, "speed is 0; between 0.25 and 4"),
        ({"speed": math.nan}, "speed is nan"),
        ({"variation": -1.0}, "variation is -1.0"),
    ],
)
def test_options_that_cannot_be(
    synthesizer: Synthesizer, voice: MatchingSet, options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        synthesizer.say("Hello", voice, **options)


def test_a_voice_of_another_encoder_is_refused(
    other_model: Callable[..., TextModel], system: VoiceConverter, text_model: TextModel, voice: MatchingSet
) -> None:
    with pytest.raises(InputError, match="other/2"):
        Synthesizer(other_model("other/2"), system)
    import dataclasses

    foreign = dataclasses.replace(voice, key_origin="other/2", name="foreign")
    with pytest.raises(InputError, match="foreign"):
        Synthesizer(text_model, system).say("Hello", foreign)


def test_a_voice_of_fewer_frames_than_neighbours(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    import dataclasses

    names = ("keys", "values", "file_index", "frame_index", "f0")
    short = dataclasses.replace(voice, **{name: getattr(voice, name)[100:102] for name in names})
    assert synthesizer.say("Hello", short).waveform.seconds > 0.1


def test_many_sentences_take_no_more_memory_than_one(synthesizer: Synthesizer, voice: MatchingSet) -> None:
    speech = synthesizer.stream("Go on. " * 15_000, voice)
    assert [next(speech).text for _ in range(3)] == ["Go on"] * 3


def test_a_sentence_ends_in_silence_of_a_known_length() -> None:
    spoken = finished(Waveform(torch.ones(16_000), 16_000), 0.3, 0.5)
    assert len(spoken.samples) == round(0.8 * 16_000)
    padded = finished(Waveform(torch.ones(8000), 16_000), 0.3, 0.45)
    assert len(padded.samples) == round(0.75 * 16_000)
    assert float(padded.samples[8000:].abs().max()) == 0.0
    assert float(padded.samples[4000]) == 1.0
    assert float(padded.samples[0]) == 0.0


def timed(text: str, *, seconds: float = 0.4) -> list[TimedWord]:
    """Words that last equally long; marks say where sentences and clauses end, but for abbreviations."""
    words = []
    for number, word in enumerate(text.split()):
        after = word[-1] if word[-1] in ".,?!" and word not in ("Dr.", "No.") else ""
        words.append(TimedWord(word, number * seconds, (number + 1) * seconds, after))
    return words


def shown(words: list[TimedWord]) -> list[str]:
    screens = subtitles.screens(words)
    return ["\n".join(" ".join(word.text for word in line) for line in subtitles.broken(screen)) for screen in screens]


def test_subtitles(tmp_path: Path) -> None:
    words = [TimedWord(f"word{i}", i * 0.2, i * 0.2 + 0.1) for i in range(30)]
    words[10] = TimedWord("-->.", 2.0, 2.1, ".")
    subtitles.write(tmp_path / "out.srt", words)
    text = (tmp_path / "out.srt").read_text()
    first = "word0 word1 word2 word3 word4\nword5 word6 word7 word8 word9 →."
    assert text.startswith(f"1\n00:00:00,000 --> 00:00:02,100\n{first}\n\n2\n")
    assert text.count("-->") == len(list(subtitles.screens(words)))
    subtitles.write(tmp_path / "out.vtt", words[:1])
    assert (tmp_path / "out.vtt").read_text() == "WEBVTT\n\n1\n00:00:00.000 --> 00:00:00.100\nword0\n\n"
    assert subtitles.clock(3723.4567) == "01:02:03,457"
    with pytest.raises(InputError, match=r"\.srt or \.vtt"):
        subtitles.write(tmp_path / "out.txt", words)


def test_subtitles_break_at_sentences_and_clauses() -> None:
    text = (
        "It costs three dollars, Dr. Smith. When the rain had stopped, the old man who lived by the river went out to "
        "see whether the bridge still stood, and he met Dr. Jones at No. 5 of the street."
    )
    screens = shown(timed(text))
    lines = [line for screen in screens for line in screen.split("\n")]
    assert all(len(line) <= 42 for line in lines)
    assert all(screen.count("\n") <= 1 for screen in screens)
    assert not any(line.endswith(("Dr.", "No.", " the", " of")) for line in lines)
    assert screens[0] == "It costs three dollars, Dr. Smith."
    assert any(screen.endswith(",") for screen in screens)
    assert " ".join(lines) == text


def test_a_word_longer_than_a_line_is_parted() -> None:
    screens = shown([TimedWord("x" * 100, 0.0, 3.0, "."), TimedWord("end", 3.0, 4.0, ".")])
    assert [len(line) for screen in screens for line in screen.split("\n")] == [42, 42, 16, 3]


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from(["", "", "", ",", "."])), min_size=1, max_size=40))
def test_subtitles_lose_no_word_and_fit(drawn: list[tuple[int, str]]) -> None:
    words = [TimedWord("x" * size, i * 0.3, i * 0.3 + 0.3, after) for i, (size, after) in enumerate(drawn)]
    screens = list(subtitles.screens(words))
    assert "".join(word.text for screen in screens for word in screen) == "".join(word.text for word in words)
    for screen in screens:
        assert len(screen) == 1 or screen[-1].end - screen[0].start <= subtitles.LASTS
        lines = subtitles.broken(screen)
        assert len(lines) <= 2
        assert all(len(" ".join(word.text for word in line)) <= 42 for line in lines)
        assert not any(word.after == "." for word in screen[:-1])
