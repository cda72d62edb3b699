"""Measures against slow oracles and against what they must be by construction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.errors import InputError
from speechssl.units import measures, report
from speechssl.units.codebooks.codebook import Codebook

IDS = st.lists(st.integers(0, 4), max_size=12)


def slow_edits(a: list[int], b: list[int]) -> int:
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y))
    return int(table[-1, -1])


@settings(max_examples=150, deadline=None)
@given(IDS, IDS)
def test_edit_distance_equals_the_table(a: list[int], b: list[int]) -> None:
    assert measures.edit_distance(np.array(a, np.int64), np.array(b, np.int64)) == slow_edits(a, b)


def test_rates_of_known_sequences() -> None:
    found = measures.rates([np.array([0, 0, 1, 1]), np.array([2, 2, 3, 3])], num_units=8, frame_rate=50.0)
    assert found["collapsed_per_second"] == 25
    assert found["entropy"] == pytest.approx(2)
    assert found["bitrate"] == pytest.approx(50)
    assert found["nominal_bitrate"] == pytest.approx(75)
    assert (found["dead"], found["perplexity"]) == (4, pytest.approx(4))
    assert found["usage"] == pytest.approx(0.5)
    with pytest.raises(InputError):
        measures.rates([], 8, 50.0)


def test_phone_information_at_its_ends() -> None:
    phones = np.array([0, 1, 2, 3] * 25)
    same = measures.phone_information(phones + 4, phones)
    assert same == pytest.approx({"phone_purity": 1, "cluster_purity": 1, "pnmi": 1})
    none = measures.phone_information(np.repeat([0, 1], 50), np.tile([0, 1], 50))
    assert none == pytest.approx({"phone_purity": 0.5, "cluster_purity": 0.5, "pnmi": 0}, abs=1e-9)
    unknown = np.where(np.arange(100) < 50, phones, measures.UNKNOWN)
    assert measures.phone_information(phones, unknown)["pnmi"] == pytest.approx(1)


def test_phone_information_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    units, phones = rng.integers(0, 5, 400), rng.integers(0, 3, 400)
    information = 0.0
    for u in range(5):
        for p in range(3):
            both = ((units == u) & (phones == p)).mean()
            information += both * np.log2(both / ((units == u).mean() * (phones == p).mean()))
    entropy = -sum((phones == p).mean() * np.log2((phones == p).mean()) for p in range(3))
    assert measures.phone_information(units, phones)["pnmi"] == pytest.approx(information / entropy)


def alignment(a: np.ndarray, b: np.ndarray) -> float:
    """Oracle: every path by recursion; the least sum, then the fewest steps."""
    angles = [[np.arccos(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1)) / np.pi for y in b] for x in a]

    def best(i: int, j: int) -> tuple[float, int]:
        if i < 0 or j < 0:
            return (0.0, 0) if i == j == -1 else (np.inf, 0)
        total, steps = min(best(i - 1, j - 1), best(i - 1, j), best(i, j - 1))
        return total + angles[i][j], steps + 1

    total, steps = best(len(a) - 1, len(b) - 1)
    return total / steps


def test_aligned_distance_equals_the_recursion() -> None:
    rng = np.random.default_rng(1)
    for _ in range(8):
        a, b = rng.normal(size=(rng.integers(1, 5), 3)), rng.normal(size=(rng.integers(1, 5), 3))
        assert measures.aligned_distance(a, b) == pytest.approx(alignment(a, b))
        assert measures.aligned_distance(a, a) == pytest.approx(0, abs=1e-6)


def spoken(informative: bool) -> list[tuple[np.ndarray, np.ndarray, str]]:
    rng, found = np.random.default_rng(3), []
    places = rng.normal(size=(5, 6)) * 3
    for speaker in "abc":
        phones = np.repeat([1, 2, 1, 3, 1, 2, 1, 4, 1, 3, 1], 3)
        frames = places[phones] if informative else np.zeros((len(phones), 6))
        found.append((frames + 0.1 * rng.normal(size=frames.shape), phones, speaker))
    return found


def test_abx_is_none_without_tokens_small_with_and_half_by_chance() -> None:
    assert measures.abx(spoken(informative=True), triples=200) == 0
    chance = measures.abx(spoken(informative=False), triples=600)
    assert chance is not None
    assert 0.35 < chance < 0.65
    assert measures.abx([], triples=10) is None


def test_the_card_of_a_perfect_codebook() -> None:
    rng = np.random.default_rng(0)
    book = Codebook(rng.normal(size=(1, 6, 4)).astype(np.float32), "small/2", 50.0)
    utterances = []
    for speaker in "ab":
        phones = np.repeat([0, 1, 2, 1, 3, 1], 4)
        frames = book.centroids[0][phones]
        utterances.append(report.Utterance(frames, phones, speaker, "one two three", {"nothing": frames}))
    card = report.measure(book, utterances, triples=50)
    assert card["phones"]["pnmi"] == pytest.approx(1)
    assert card["quantisation_error"] == 0
    assert card["edits_under"] == {"nothing": 0}
    assert card["edits_between_speakers"] == 0
    assert card["dead"] == 2
    assert card["abx"] == 0
    table = report.text([card, card])
    assert "| PNMI | 1.000 | 1.000 |" in table


def test_phones_of_frames_are_those_in_their_middle() -> None:
    track = np.array([0, 0, 0, 5, 5, 5, 7])
    # frames are centred on 12.5, 32.5, 52.5 and 72.5 ms
    assert report.phones_of_frames(track, 4).tolist() == [0, 5, 5, measures.UNKNOWN]
    assert len(report.phones_of_frames(None, 4)) == 0
