"""``speechssl docs``: the copy that was built, else the address."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest

from speechssl import cli
from speechssl.cli import docs


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "index.html"
    monkeypatch.setattr(docs, "BUILT", path)
    return path


def test_the_address_is_printed_where_nothing_was_built(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["docs"]) == 0
    assert capsys.readouterr().out == f"{docs.ADDRESS}\n"


def test_the_copy_on_this_machine_comes_first(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built.write_text("site")
    assert cli.run(["docs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"docs": built.as_uri(), "offline": True}


@pytest.mark.parametrize(("opens", "code"), [(True, 0), (False, 2)])
def test_the_browser_opens_it_or_the_error_says_what_to_open(
    opens: bool, code: int, built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda place: asked.append(place) or opens)
    assert cli.run(["docs", "--browser"]) == code
    assert asked == [docs.ADDRESS]
    assert (docs.ADDRESS in capsys.readouterr().err) is not opens
