"""Sessions: harmless names, and files that vanish."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from speechssl.app import sessions
from speechssl.app.sessions import Sessions


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


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("a b?.wav", "a_b"),
        ("", "speech"),
        ("日本/夜 朝.opus", "夜_朝"),
        ("Ärger.wav", "Ärger"),
    ],
)
def test_names_of_others_become_harmless(name: str, kept: str) -> None:
    assert sessions.harmless(name) == kept


def test_long_names_fit_into_a_name_of_a_file() -> None:
    assert sessions.harmless("夜" * 200) == "夜" * 13
