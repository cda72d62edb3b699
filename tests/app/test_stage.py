"""What a job of the page shows, without the page."""

from __future__ import annotations

from speechssl.app.tabs.stage import Shown


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
