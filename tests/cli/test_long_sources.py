"""Long sources of ``speechssl convert``: what is written piece by piece, its attribution, and what prevents it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Answer, convert

import speechssl
from speechssl import audio
from speechssl.cli import long_sources, terminal
from speechssl.conversion import result, streaming
from speechssl.conversion.options import ConversionOptions
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices import clips

Speech = dict[str, Path]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """19.01 s, which count as long here."""
    monkeypatch.setattr(long_sources, "LONG", 15.0)
    monkeypatch.setattr(long_sources, "PIECE", 6.0)
    samples = audio.read_mono(clips.clip("ada").path, 16_000).samples[: 19 * 16_000 + 160]
    return audio.write(tmp_path / "long.wav", Waveform(samples, 16_000)) or tmp_path / "long.wav"


def test_it_is_the_stream_joined_with_an_attribution_of_every_frame(
    command: Callable[..., Answer], speech: Speech, encoder_file: Path, source: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    told: list[float] = []
    monkeypatch.setattr(terminal, "advance", told.append)
    table = tmp_path / "frames.csv"
    options = ["--model", encoder_file, "--converter", "uniform", "--k", 2, "--attribution", table, "--json"]
    answer = convert(command, source, speech, tmp_path / "out.wav", *options)
    assert answer.code == 0, answer.err
    (facts,) = answer.json["results"]
    # what is done is told as it goes
    assert len([seconds for seconds in told if seconds > 1]) > 2
    assert sum(told) == pytest.approx(19.01)
    assert (facts["streamed"], facts["converter"], facts["seconds"]) == (True, "uniform", 19.01)
    system = speechssl.load_bundle(encoder_file)
    voice, lengths = system.matching_set([speech["reference"]]), streaming.Lengths(first=6.0, piece=6.0)
    pieces = list(streaming.stream(system, source, voice, ConversionOptions(2, "uniform"), lengths=lengths))
    assert len(pieces) > 1
    whole, written = result.join(pieces), audio.read_mono(tmp_path / "out.wav", 16_000)
    assert len(written.samples) == len(whole.waveform.samples) == 19 * 16_000 + 160
    assert float((written.samples - whole.waveform.samples).abs().max()) < 2**-14
    assert facts["coverage"] == pytest.approx(whole.coverage, abs=1e-4)
    whole.write_attribution(tmp_path / "expected.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["frame"] for row in rows[::2]] == [str(number) for number in range(len(whole.features))]
    assert table.read_text() == (tmp_path / "expected.csv").read_text()


@pytest.mark.parametrize(
    ("options", "streamed"),
    [(["--tempo", "target"], False), (["--converter", "transport"], False), (["--converter", "distance"], True)],
)
def test_what_needs_the_whole_source_gets_it(
    command: Callable[..., Answer], speech: Speech, encoder_file: Path, source: Path, tmp_path: Path,
    options: list[str], streamed: bool,
) -> None:  # fmt: skip
    answer = convert(command, source, speech, tmp_path / "out.wav", "--model", encoder_file, *options, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["results"][0].get("streamed", False) is streamed


def test_a_failure_on_the_way_leaves_nothing(
    command: Callable[..., Answer], speech: Speech, encoder_file: Path, source: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def broken(*_: object) -> None:
        raise InputError("the disk is full")

    (tmp_path / "new").mkdir()
    table, output = tmp_path / "new" / "frames.csv", tmp_path / "new" / "out.wav"
    monkeypatch.setattr(result, "join", broken)
    answer = convert(
        command, source, speech, output, "--model", encoder_file, "--converter", "uniform", "--attribution", table
    )
    assert (answer.code, "the disk is full" in answer.err) == (2, True)
    assert list((tmp_path / "new").iterdir()) == []


def test_only_a_number_of_each_frame_is_kept_until_the_end() -> None:
    features = speechssl.Features(torch.randn(5, 8), 50.0, "a/1")
    made = result.Conversion(Waveform(torch.randn(900), 16_000), features, "uniform", "", (), torch.ones(5))
    left = made.without_sound()
    assert left.features.frames.untyped_storage().nbytes() == 5 * 4
    assert left.waveform.samples.untyped_storage().nbytes() == 4
    assert (len(left.features), left.coverage) == (5, 1.0)
