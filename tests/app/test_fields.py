"""The options are declared once: page, endpoints and dataclass agree."""

from __future__ import annotations

import dataclasses

import pytest

from speechssl.app import fields
from speechssl.app.handlers.conversions import Options
from speechssl.app.refusals import Refused


def test_the_fields_are_those_of_the_dataclass_and_so_are_their_defaults() -> None:
    names = {field.name for field in dataclasses.fields(Options)}
    assert {field.name for field in fields.OPTIONS} == names - {"sample_rate"}
    assert fields.options_of({field.name: field.default for field in fields.OPTIONS}) == Options()


def test_clients_have_the_arguments_that_the_readme_gives_in_order() -> None:
    wanted = ["k", "converter", "interpolation", "pitch", "file_format", "model", "tempo", "loudness"]
    assert list(fields.arguments()) == wanted
    given = dict(zip(wanted, (8, "uniform", 1, "-2", "flac", "tiny", "0.8", "level"), strict=True))
    assert fields.options_of(given) == Options(
        k=8,
        converter="uniform",
        interpolation=1.0,
        pitch=-2.0,
        form="flac",
        model="tiny",
        tempo="0.8",
        loudness="level",
    )


def test_a_pitch_that_is_no_number_is_refused() -> None:
    with pytest.raises(Refused, match="semitones") as caught:
        fields.options_of({field.name: field.default for field in fields.OPTIONS} | {"pitch": "high"})
    assert caught.value.field == "options"
