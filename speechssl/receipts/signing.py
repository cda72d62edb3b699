"""Signed receipts of synthetic speech, beside the file and inside it: what it was made of, and with whose consent.

A receipt is a JSON object. ``output`` names what is heard (``playback.heard``): SHA-256 of the samples of a WAV or FLAC
file (so it survives a change between the two), of the coded packets of an Opus or MP3 file, and how they are played;
tags and file names do not enter it. The rest is
what the maker knows: consent, sources and references by checksum, models, settings, similarity. ``signature`` is
Ed25519 (RFC 8032) over all other fields as canonical JSON (sorted keys, no spaces, UTF-8).

Inside: WAV has it in a LIST INFO chunk (ICMT), FLAC and Opus in a comment, MP3 in an ID3 text frame.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl import checkpoints
from speechssl.audio import WRITABLE
from speechssl.checkpoints import kinds
from speechssl.checkpoints.names import now
from speechssl.errors import CheckpointError, InputError
from speechssl.receipts import playback, trust
from speechssl.receipts.carriers import FORMAT, embed_in, extract_from, parsed, text_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SUFFIX = ".receipt.json"


@dataclass(frozen=True)
class Verdict:
    """What ``check`` found.

    Args:
        genuine: signed by the key of this machine or a trusted one, and nothing changed since.
        reasons: what was changed; empty if nothing was.
        key: fingerprint of the key that signed.
        own_key: whether that is the key of this machine.
        receipt: its content.
        trusted: under which name that key is trusted; empty if it is not (see ``trust``).
    """

    genuine: bool
    reasons: tuple[str, ...]
    key: str
    own_key: bool
    receipt: dict[str, Any]
    trusted: str = ""

    @property
    def verdict(self) -> str:
        """``"genuine"``, ``"unknown key"`` (unchanged, but anybody may have signed it) or ``"changed"``."""
        return "changed" if self.reasons else "genuine" if self.genuine else "unknown key"


class Signer:
    """The key receipts are signed with: a file that only its owner can read, made at the first use.

    Args:
        path: of the key (PEM); None for ``default_key()``.
    Raises:
        CheckpointError: the file is no Ed25519 key, can be read by other users, or cannot be made.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = default_key() if path is None else Path(path)
        self._key = _read_key(self.path) if self.path.exists() else _make_key(self.path)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, receipt: dict[str, Any]) -> dict[str, Any]:
        """The receipt with its signature, in place of any it had."""
        plain = {name: value for name, value in receipt.items() if name != "signature"}
        signature = {
            "algorithm": "Ed25519",
            "public_key": base64.b64encode(self.public).decode(),
            "value": base64.b64encode(self._key.sign(canonical(plain))).decode(),
        }
        return {**plain, "signature": signature}


def default_key() -> Path:
    """Where the key lives: ``$SPEECHSSL_KEY``, else beside the voices."""
    chosen = os.environ.get("SPEECHSSL_KEY")
    return Path(chosen).expanduser() if chosen else checkpoints.data_root() / "receipt-key.pem"


def issue(path: str | Path, facts: dict[str, Any], signer: Signer, *, embed: bool = True) -> dict[str, Any]:
    """Sign a receipt for a finished file and write it beside the file and into it.

    Args:
        path: .wav, .flac, .ogg, .opus or .mp3; nothing but its tags may change afterwards.
        facts: JSON-able; see ``contents``.
        signer: of this machine.
        embed: also inside the file.
    Returns:
        The signed receipt.
    Raises:
        InputError: another kind of file, or one that cannot be read.
        CheckpointError: the place cannot be written to.
    """
    path = Path(path)
    receipt = receipt_of(facts, {"name": path.name, **playback.heard(path)}, signer)
    if embed:
        embed_in(path, json.dumps(receipt, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False))
    text = json.dumps(receipt, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n"
    checkpoints.write_text(beside(path), text)
    return receipt


def receipt_of(facts: dict[str, Any], output: dict[str, Any], signer: Signer) -> dict[str, Any]:
    """A receipt of now; ``output`` says what was made, for sound that is kept in no file."""
    # the package itself is above this module
    version = sys.modules["speechssl"].__version__
    return signer.sign({**facts, "format": FORMAT, "speechssl": version, "created": now(), "output": output})


def beside(path: str | Path) -> Path:
    """Where the receipt of a file lies: ``talk.wav.receipt.json``."""
    return Path(f"{path}{SUFFIX}")


def drop(path: str | Path) -> None:
    """Remove the receipt beside a file that was replaced: it speaks of a recording that is no more."""
    beside(path).unlink(missing_ok=True)


@kinds.checked
def show(path: str | Path) -> dict[str, Any]:
    """The receipt of a file: the one inside it, else the one beside it; or a receipt file itself. Nothing is checked.

    Raises:
        InputError: no such file, or without a receipt.
    """
    path = Path(path)
    if path.name.endswith(".json"):
        return parsed(text_of(path), path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a recording that speechssl made")
    inside = extract_from(path)
    if inside is not None:
        return parsed(inside, path)
    if beside(path).is_file():
        return parsed(text_of(beside(path)), beside(path))
    raise InputError(f"{path} has no receipt, inside or as {beside(path).name}; it was not made here, or lost its tags")


@kinds.checked
def check(path: str | Path, *, receipt: str | Path | None = None, key: str | Path | None = None) -> Verdict:
    """Whether a file is what its receipt says, the receipt what was signed, and by whom. Works offline.

    Args:
        path: the file.
        receipt: its receipt, where it is neither inside nor beside.
        key: file of this machine's key, to say whether it signed; None for ``default_key()``.
    Raises:
        InputError: no file, or no receipt.
    """
    path = Path(path)
    found = show(receipt or path)
    reasons = []
    public = _public_key(found)
    if public is None or not _signed(found, public):
        reasons.append("the receipt was changed after it was signed, or never signed")
    reasons += _not_as_signed(path, found)
    place = default_key() if key is None else Path(key)
    own = place.exists() and Signer(place).public == public
    trusted = trust.name_of(public) if public else ""
    genuine = not reasons and (own or bool(trusted))
    return Verdict(genuine, tuple(reasons), trust.fingerprint(public or b""), own, found, trusted)


def signed_by(path: str | Path) -> bytes:
    """The public key that signed a receipt, or the receipt of a recording, for ``trust.add``.

    Raises:
        InputError: no receipt, or its signature is not of the key that it names.
    """
    found = show(path)
    public = _public_key(found)
    if public is None or not _signed(found, public):
        raise InputError(f"the receipt of {path} was changed after it was signed; one that was not needed")
    return public


def _not_as_signed(path: Path, receipt: dict[str, Any]) -> list[str]:
    """What is heard otherwise than when the receipt was signed."""
    if not path.is_file() or path.suffix.lower() not in WRITABLE:
        raise InputError(f"{path}: no such file, or none of {', '.join(WRITABLE)}; the recording needed")
    try:
        facts = playback.heard(path) if receipt["format"] == FORMAT else playback.heard_in_format_1(path)
        output = receipt.get("output")
        if not isinstance(output, dict) or facts != {name: output.get(name) for name in facts}:
            return ["the sound is not the one that was signed"]
        playback.check_second_reader(path, facts)
    except InputError as error:
        return [f"the file is not built as it was, and players may play it differently: {error}"]
    return []


def canonical(receipt: dict[str, Any]) -> bytes:
    """The bytes that are signed."""
    return json.dumps(receipt, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


# ---- keys


def _read_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        # Windows has no such bits
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise CheckpointError(
                f"other users of this machine can read or change the private key {path}; cure it with: "
                f"chmod 600 {shlex.quote(str(path))}"
            )
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, OSError, UnsupportedAlgorithm) as error:
        raise CheckpointError(f"{path} is no private key ({error}); move it away, and a new one is made") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CheckpointError(f"{path} is a key of another kind; an Ed25519 key needed: move it away")
    return key


def _make_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        checkpoints.private_folder(path.parent)
        own = checkpoints.OWN_FILE
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, own), "wb") as file:
            path.chmod(own)  # a strict umask takes the owner's rights too
            file.write(text)
    except FileExistsError:
        return _read_key(path)  # another process was first
    except OSError as error:
        raise CheckpointError(f"cannot make the key {path}: {error.strerror}; set SPEECHSSL_KEY elsewhere") from error
    return key


def _public_key(receipt: dict[str, Any]) -> bytes | None:
    try:
        return base64.b64decode(receipt["signature"]["public_key"], validate=True)
    except (KeyError, TypeError, ValueError):
        return None


def _signed(receipt: dict[str, Any], public: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    plain = {name: value for name, value in receipt.items() if name != "signature"}
    try:
        signature = base64.b64decode(receipt["signature"]["value"], validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical(plain))
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
    return True
