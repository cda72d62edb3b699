"""Names that tell recordings apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechssl import audio
from speechssl.errors import InputError

UPLOAD = "0123456789abcdef0123456789abcdef"  # a folder as a server of a page names it


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a.wav", "y/b.wav"], ["a.wav", "b.wav"]),
        (["x/a.wav", "y/a.wav", "y/b.wav"], ["x/a.wav", "y/a.wav", "b.wav"]),
        (["1/x/a.wav", "2/x/a.wav", "y/a.wav"], ["1/x/a.wav", "2/x/a.wav", "y/a.wav"]),
        (["x/a.wav", "x/a.wav"], ["a.wav", "a.wav"]),
        ([f"{UPLOAD}/a.wav", f"{UPLOAD[::-1]}/a.wav"], ["a.wav", "a.wav (2)"]),
        ([], []),
    ],
)
def test_names_are_the_shortest_that_differ(paths: list[str], names: list[str]) -> None:
    assert audio.told_apart([Path("/data") / path for path in paths]) == names


def test_names_that_are_taken_are_not_given() -> None:
    assert audio.told_apart(["/data/y/a.wav"], taken=["a.wav"]) == ["y/a.wav"]
    assert audio.told_apart(["/a.wav"], taken=["a.wav"]) == ["a.wav (2)"]


@pytest.mark.parametrize("way", ["same", "relative", "link", "hard link"])
def test_nothing_given_is_overwritten(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given, output = tmp_path / "a.wav", tmp_path / "b.wav"
    given.write_bytes(b"sound")
    if way == "link":
        output.symlink_to(given)
    elif way == "hard link":
        output.hardlink_to(given)
    else:
        output = given if way == "same" else Path("a.wav")
    with pytest.raises(InputError, match=r"a\.wav, which was given and would be overwritten"):
        audio.refuse_overwriting(output, [tmp_path / "c.wav", given])
    audio.refuse_overwriting(tmp_path / "d.wav", [given, tmp_path / "c.wav"])
