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
