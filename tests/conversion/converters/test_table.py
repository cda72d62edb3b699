"""The table of converters, and which of them ``auto`` stands for."""

from __future__ import annotations

import pytest

from speechssl.conversion import converters


def test_every_row_is_found_by_its_name_and_says_what_it_does():
    assert tuple(row.name for row in converters.TABLE.values()) == converters.NAMES
    assert all(row.help.endswith(".") for row in converters.TABLE.values())


def test_k_is_the_rows_own_unless_it_is_given():
    assert [converters.TABLE[name].neighbours(None) for name in ("uniform", "variance")] == [4, 3]
    assert converters.TABLE["variance"].neighbours(7) == 7


@pytest.mark.parametrize(
    ("seconds", "has_source_values", "speaks_means", "chosen"),
    [
        (300, True, True, "uniform"),
        (300, False, True, "uniform"),
        (5, True, True, "transport"),
        (5, False, True, "distance"),
        (300, True, False, "shift"),
        (5, True, False, "shift"),
        (300, False, False, "uniform"),
    ],
)
def test_auto_chooses_by_reference_and_vocoder_and_says_so(seconds, has_source_values, speaks_means, chosen):
    name, reason = converters.choose(seconds, has_source_values=has_source_values, speaks_means=speaks_means)
    assert name == chosen
    assert f"{seconds} s of reference" in reason


@pytest.mark.parametrize(("seconds", "said"), [(0.46, "0.5 s"), (1.985, "2 s"), (9.97, "10 s"), (75.4, "75 s")])
def test_auto_never_calls_a_short_reference_none(seconds, said):
    assert f"{said} of reference" in converters.choose(seconds, has_source_values=True, speaks_means=True)[1]


@pytest.mark.parametrize("seconds", [5, 300])
def test_auto_is_regression_where_the_vocoder_hears_the_words(seconds):
    for known in (True, False):
        name, reason = converters.choose(seconds, has_source_values=known, speaks_means=False, hears_keys=True)
        assert name == "regression"
        assert "hears the words" in reason
