"""Frames of recordings on their way to a codebook."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from helpers import Spectra

from speechssl.errors import InputError
from speechssl.units.codebooks import fitting


def test_frames_lie_in_a_file_that_a_killed_process_does_not_leave(speech: dict[str, Path], tmp_path: Path) -> None:
    encoder, files = Spectra(), [speech["source"], speech["other"]]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "none.wav").write_bytes(b"no audio")
    with fitting.spooled(encoder, [files[0], tmp_path / "none.wav", files[1]], scratch) as (frames, facts):
        if os.name == "posix":
            assert list(scratch.iterdir()) == []
        parts = [piece for one in files for piece in fitting.pieces(encoder, one)]
        np.testing.assert_array_equal(frames, np.concatenate(parts))
        assert (facts["files"], facts["frames"], len(facts["left_out"])) == (2, len(frames), 1)
    with pytest.raises(InputError, match="none of 1 recordings"), fitting.spooled(encoder, [tmp_path / "none.wav"]):
        pass
