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


def test_clients_without_a_session_are_many_and_kept_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_ONCE", 3)
    found, ended = Sessions(tmp_path, keep_seconds=600.0), []
    found.ended = ended.append
    window, busy = found.get("window"), found.get(None)
    busy.busy = 1
    first = found.get(None).place("a", ".wav")
    for _ in range(5):
        found.get(None)
    assert len(found) == 5
    assert found.get("window") is window
    assert busy in found._found.values()
    assert not first.parent.exists()
    assert len(ended) == 3


def test_uploads_go_with_the_last_session_that_used_them(tmp_path: Path) -> None:
    found = Sessions(tmp_path, keep_seconds=600.0)
    upload = tmp_path / "home" / "upload-1"
    upload.mkdir(parents=True)
    one, other = found.get("one"), found.get("other")
    one.uploads.add(upload)
    other.uploads.add(upload)
    one.used -= 1000
    assert found.expire() == 1
    assert upload.exists()
    other.close()
    other.closed -= 1000
    assert found.expire() == 1
    assert not upload.exists()


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
