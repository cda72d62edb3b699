"""What a job of the page shows, without the page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from speechssl.app.tabs.stage import Shown, Stage


class Card:
    elem_id = "status"


CARD = Card()


def test_whoever_follows_a_job_gets_what_is_shown_and_then_only_what_changes() -> None:
    shown = Shown({})
    shown.add({"lines": "", "card": "begins"})
    first = shown.follow()
    assert next(first) == {"lines": "", "card": "begins"}
    shown.add({"card": "half"})
    assert next(first) == {"card": "half"}
    shown.add({"card": "done", "player": "sound"})
    shown.close()
    assert list(first) == [{"card": "done", "player": "sound"}]
    assert list(shown.follow(but="player")) == [{"lines": "", "card": "done"}]


def test_a_job_that_was_left_shows_nothing_more() -> None:
    shown = Shown({})
    following = shown.follow()
    shown.add({"card": "begins"})
    shown.leave()
    assert list(following) == []


def test_a_page_in_which_a_job_was_begun_does_not_follow_it_a_second_time_once_it_is_filled() -> None:
    window = SimpleNamespace(shown={})
    page: Any = SimpleNamespace(session=lambda request: window, remembered=lambda session: {})

    def again(opening: str) -> list[Any]:
        return list(Stage(page, CARD, "", {}).again(SimpleNamespace(session_hash=opening)))  # type: ignore[arg-type]

    window.shown["status"] = shown = Shown({"source": "a.wav"}, ["source"])
    shown.opening = "first load"
    shown.add({CARD: "at work"})
    shown.close()
    assert [list(one) for one in again("first load")] == [[CARD]]  # left as it is
    assert again("second load") == [{"source": "a.wav"}, {CARD: "at work"}]
