"""What was made, of whose recordings, signed; and the mark in the sound."""

from __future__ import annotations

from speechssl.receipts.signing import Signer, Verdict, check, issue, show

__all__ = ["Signer", "Verdict", "check", "issue", "show"]
