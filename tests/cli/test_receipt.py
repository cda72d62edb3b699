"""When the commands sign: what a machine did before changes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from speechssl.cli import receipt
from speechssl.receipts import signing


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key that was made before, as after an earlier receipt."""
    monkeypatch.setenv("SPEECHSSL_KEY", str(tmp_path / "key.pem"))
    monkeypatch.delenv(receipt.SETTING, raising=False)
    assert signing.Signer().path == tmp_path / "key.pem"
    assert (tmp_path / "key.pem").exists()
    return tmp_path / "key.pem"


@pytest.mark.parametrize(
    ("wanted", "consents", "setting", "signs"),
    [
        (None, (), "", False),
        (None, (), "0", False),
        (None, (), "1", True),
        (None, ("Ada",), "", True),
        (True, (), "", True),
        (False, ("Ada",), "1", False),
    ],
)
def test_a_receipt_needs_the_option_a_consent_or_the_setting(
    wanted: bool | None,
    consents: tuple[str, ...],
    setting: str,
    signs: bool,
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(receipt.SETTING, setting)
    voices: Any = [SimpleNamespace(consents=()), SimpleNamespace(consents=consents)]
    assert (receipt.signer(wanted, voices) is not None) == signs
