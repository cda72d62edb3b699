"""A codebook of the small encoder, a handful of recordings, and the command line; see ``helpers``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Answer, codebook_file, in_process, recordings

__all__ = ["codebook_file", "recordings"]


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Answer]:
    """Run the command line in this process, with voices in a folder of the test's own."""
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "voices"))
    monkeypatch.delenv("SPEECHSSL_RECEIPTS", raising=False)
    return in_process(capsys)
