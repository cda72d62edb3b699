"""Lists of recordings for units."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from speechssl.errors import InputError
from speechssl.units.encoding import manifest


def test_a_name_that_is_no_utf8_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "fine.wav").touch()
    assert [entry.path for entry in manifest.entries([tmp_path])] == ["fine.wav"]
    (tmp_path / name).touch()
    for given in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match=r"caf.udce9\.wav' is no UTF-8.* rename it"):
            manifest.entries([given])


def test_files_that_share_a_name_get_ids_that_tell_them_apart(tmp_path: Path) -> None:
    places = ("monday/talk.wav", "monday/more.wav", "tuesday/talk.wav", "tuesday/talk.mp3")
    for place in places:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()

    def ids(*given: str) -> dict[str, str]:
        return {entry.id: entry.path for entry in manifest.entries([tmp_path / one for one in given])}

    talks = {"monday/talk": "monday/talk.wav", "tuesday/talk": "tuesday/talk.wav"}
    assert ids("monday/talk.wav", "tuesday/talk.wav") == talks
    both = {f"tuesday/{name}": f"tuesday/{name}" for name in ("talk.mp3", "talk.wav")}
    assert ids("monday", "tuesday") == {"more": "more.wav", "monday/talk.wav": "monday/talk.wav", **both}
    assert ids(".") == {"monday/more": "monday/more.wav", "monday/talk": "monday/talk.wav", **both}
    # one recording is encoded once, however often it is named
    assert ids(".", "monday", "monday/talk.wav") == ids(".")


def test_a_path_that_does_not_exist_is_refused_before_it_is_in_a_folder_of_units(tmp_path: Path) -> None:
    (tmp_path / "fine.wav").touch()
    with pytest.raises(InputError, match="nothere does not exist; a recording, a folder"):
        manifest.entries([tmp_path / "fine.wav", tmp_path / "nothere"])
