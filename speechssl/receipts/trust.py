"""The public keys that this machine's owner trusts: receipts that others signed are genuine only if theirs is listed.

The list is ``trusted-keys.json`` beside the voices' folder. Who signs says who they are by a fingerprint, which has to
be compared over another way than the recording came by: a telephone, a web page, a meeting.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from speechssl import checkpoints
from speechssl.checkpoints import foreign, names
from speechssl.errors import InputError

LENGTH = 32  # bytes of a public key of Ed25519


@dataclass(frozen=True)
class TrustedKey:
    """A key and whose it is.

    Args:
        public: 32 bytes.
        name: of the person or place that signs with it.
    """

    public: bytes
    name: str

    def __post_init__(self) -> None:
        names.checked(self.name, "a trusted key")
        if len(self.public) != LENGTH:
            raise InputError(f"a public key of {len(self.public)} bytes; {LENGTH} needed")


def place() -> Path:
    """The file of the list."""
    return checkpoints.data_root() / "trusted-keys.json"


def fingerprint(public: bytes) -> str:
    """16 hexadecimal digits of a public key, to compare by eye; empty without one."""
    return hashlib.sha256(public).hexdigest()[:16] if public else ""


def written(public: bytes) -> str:
    """A public key as text, which ``read`` takes."""
    return base64.b64encode(public).decode()


def read(text: str) -> bytes:
    """A public key from its text.

    Raises:
        InputError: no 32 bytes as base64.
    """
    try:
        public = base64.b64decode(text, validate=True)
    except ValueError:
        public = b""
    if len(public) != LENGTH:
        raise InputError(
            f"{text!a:.80} is no public key; 44 letters and digits, as `speechssl receipt trust` prints them"
        )
    return public


def listed() -> list[TrustedKey]:
    """All trusted keys, in the order in which they were added.

    Raises:
        InputError: the list is damaged.
    """
    path = place()
    if not path.exists():
        return []
    try:
        rows = foreign.read_object(path)["keys"]
        return [TrustedKey(read(row["key"]), row["name"]) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the trusted keys cannot be read ({error}); mend {path}, or delete it") from error


def name_of(public: bytes) -> str:
    """Under which name a key is trusted; empty if it is not.

    Raises:
        InputError: the list is damaged.
    """
    return next((one.name for one in listed() if one.public == public), "")


def add(public: bytes, name: str) -> TrustedKey:
    """Trust a key, under a name; a key that is there gets the new name.

    Raises:
        InputError: a name that is none, or that another key has.
        CheckpointError: the list cannot be written.
    """
    new = TrustedKey(public, names.checked(name, "a trusted key"))
    with checkpoints.alone(checkpoints.private_folder(place().parent)):
        others = [one for one in listed() if one.public != public]
        if any(one.name == new.name for one in others):
            raise InputError(f"another key is trusted as {new.name!r}; give another name, or remove that one first")
        _write([*others, new])
    return new


def remove(name: str) -> TrustedKey:
    """Trust a key no longer.

    Args:
        name: under which it is trusted, or its fingerprint.
    Raises:
        InputError: no such key.
    """
    with checkpoints.alone(checkpoints.private_folder(place().parent)):
        known = listed()
        found = next((one for one in known if name in (one.name, fingerprint(one.public))), None)
        if found is None:
            others = ", ".join(repr(one.name) for one in known) or "none"
            raise InputError(f"no key is trusted as {name!r}; there are: {others}")
        _write([one for one in known if one is not found])
    return found


def _write(all_: list[TrustedKey]) -> None:
    rows = [{"key": written(one.public), "name": one.name} for one in all_]
    with checkpoints.atomic_path(place()) as temporary:
        temporary.touch(checkpoints.OWN_FILE)
        temporary.write_text(json.dumps({"keys": rows}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.chmod(checkpoints.OWN_FILE)
