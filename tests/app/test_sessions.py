"""Sessions: harmless names, and files that vanish."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from speechssl.app import sessions
from speechssl.app.sessions import Session, Sessions


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
    other.close(None)
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


MINE, OTHERS = "a" * 64, "b" * 64


def made_something(found: Sessions, key: str, user: str = "", browser: str = MINE) -> Session:
    session = found.take_up(key, f"tab of {key}", user, browser)
    session.remember({"what": "conversion"})
    return session


def test_a_window_that_is_loaded_again_has_the_session_of_its_tab(tmp_path: Path) -> None:
    found = Sessions(tmp_path, keep_seconds=600.0)
    session = made_something(found, "one")
    # before the service has noticed that the old connection is gone, and after
    assert found.take_up("two", "tab of one", "", MINE) is session
    assert found.get("two") is session
    session.close(None)
    assert found.take_up("three", "tab of one", "", MINE) is session
    assert session.closed == math.inf


def test_a_closed_window_is_found_again_for_an_hour_in_another_tab_of_its_browser(tmp_path: Path) -> None:
    found = Sessions(tmp_path, keep_seconds=3600.0)
    session = made_something(found, "one")
    place = session.place("a", ".wav")
    # it is still open: another tab is another window
    assert found.take_up("two", "new", "", MINE) is not session
    session.close(None)
    session.closed, session.used = session.closed - 3500, session.used - 3500
    found.expire()
    assert found.take_up("three", "newer", "", MINE) is session
    assert found.take_up("four", "newest", "", MINE) is not session
    session.close(None)
    session.used -= 3700
    assert found.expire() == 2  # both of its connections; its files went once
    assert not place.parent.exists()


def test_what_a_window_sent_before_it_was_closed_does_not_open_it_again(tmp_path: Path) -> None:
    found = Sessions(tmp_path, keep_seconds=3600.0)
    session = made_something(found, "one")
    session.open("window of one")
    session.close("window of one")
    assert found.get("one", browser=MINE) is session
    assert session.closed <= time.monotonic()
    assert found.take_up("two", "new", "", MINE) is session


def test_the_end_of_an_old_connection_comes_late_and_closes_no_window_that_was_loaded_again(tmp_path: Path) -> None:
    found = Sessions(tmp_path, keep_seconds=3600.0)
    session = made_something(found, "one")
    session.open("window of one")
    found.get("two", browser=MINE).open("window of two")
    assert found.take_up("two", "tab of one", "", MINE) is session
    session.close("window of one")
    assert session.closed == math.inf
    assert found.take_up("three", "another", "", MINE) is not session
    session.close("window of two")
    assert found.take_up("four", "yet another", "", MINE) is session


def test_a_window_that_is_closed_before_it_has_opened_leaves_what_it_takes_up_to_others(tmp_path: Path) -> None:
    found = Sessions(tmp_path, keep_seconds=3600.0)
    session = made_something(found, "one")
    session.close(None)
    brief = found.get("two", browser=MINE)
    brief.open("window of two")
    brief.close("window of two")
    assert found.take_up("two", "new", "", MINE) is session
    assert found.take_up("three", "newer", "", MINE) is session


def test_an_old_connection_that_ends_takes_no_files_from_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Sessions(tmp_path, keep_seconds=3600.0)
    place = made_something(found, "one").place("a", ".wav")
    found.take_up("two", "tab of one", "", MINE)
    monkeypatch.setattr(sessions, "MOST", 1)
    found.get("two")
    assert found.find("one") is None
    assert place.parent.exists()


@pytest.mark.parametrize(("user", "browser"), [("", OTHERS), ("", ""), ("beth", MINE)])
def test_nobody_takes_up_the_session_of_another_browser_or_user(tmp_path: Path, user: str, browser: str) -> None:
    found = Sessions(tmp_path, keep_seconds=600.0)
    session = made_something(found, "one")
    nobodys = made_something(found, "two", browser="")
    for one in (session, nobodys):
        one.close(None)
    for tab in ("tab of one", "tab of two", ""):
        assert not found.take_up(f"thief {tab}", tab, user, browser).results


def test_only_a_browser_that_can_come_back_keeps_its_place_in_the_queue(tmp_path: Path) -> None:
    found = Sessions(tmp_path, keep_seconds=600.0)
    window, client = found.get("one", browser=MINE), found.get(None)
    window.leave()
    client.leave()
    assert window.left == -math.inf
    assert client.left > 0
