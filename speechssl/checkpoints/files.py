"""Files of ours: one safetensors file each, with its facts in the header, checked on the way in, written whole."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl.checkpoints import foreign
from speechssl.checkpoints.names import some
from speechssl.checkpoints.places import OWN_FILE, new_folder
from speechssl.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


FORMAT = 1
METADATA_KEY = "speechssl"
VERIFY_LIMIT = 256 << 20  # bytes; up to here every load recomputes the checksum, which costs about 0.15 s at this size
BLOCK = 1 << 20  # bytes hashed or downloaded at a time
_PARAMETRIZED = "parametrizations.weight.original"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What one file holds.

    Args:
        path: the file it came from.
        header: the JSON header, ``kind`` and ``sha256`` included.
        tensors: by name, on the CPU, mapped from the file (pages are read when they are used); do not write to them.
    """

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def kind(self) -> str:
        """What the file is, e.g. ``"encoder"``."""
        return str(self.header["kind"])

    @property
    def is_small(self) -> bool:
        """Whether the file is checked byte by byte when it is opened."""
        return self.path.stat().st_size <= VERIFY_LIMIT

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the checksum in the header: names the content, whatever the file is called."""
        return str(self.header["sha256"])[:16]


def save(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any], *, private: bool = False) -> Path:
    """Write one safetensors file, whole or not at all.

    Args:
        path: the file to write; an existing one is replaced only once the new one is complete.
        tensors: by name; moved to the CPU, made contiguous.
        header: JSON-able facts, with at least ``kind``; ``format`` and ``sha256`` are added.
        private: readable by its owner alone, as a person's voice is; else as readable as any other file.
    Returns:
        The path.
    Raises:
        CheckpointError: no kind, a header JSON cannot hold, a full disk, an unwritable place.
    """
    from safetensors.torch import save_file

    path = Path(path)
    plain = _plain_header(path, header)
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    plain["sha256"] = _checksum(plain, ready)
    metadata = {METADATA_KEY: json.dumps(plain, ensure_ascii=False, sort_keys=True)}
    with atomic_path(path) as temporary:
        # safetensors leaves its files to their owner alone
        temporary.touch()
        mode = OWN_FILE if private else temporary.stat().st_mode
        save_file(ready, temporary, metadata=metadata)
        temporary.chmod(mode)
    return path


def load(path: str | Path, *, kind: str, verify: bool | None = None) -> Checkpoint:
    """Open a file of ours.

    Args:
        path: the file.
        kind: what it must be, e.g. ``"vocoder"``.
        verify: recompute the checksum over all bytes; None does it for files up to ``VERIFY_LIMIT``, so that a voice of
            gigabytes still opens at once.
    Raises:
        CheckpointError: missing, damaged, truncated, not safetensors, not ours, of a newer format or of another kind.
    """
    path = Path(path)
    with _opened(path) as file:
        header = _header(path, file.metadata())
        if header["kind"] != kind:
            raise CheckpointError(
                f"{path} is a checkpoint of kind {header['kind']!r}; a {kind!r} is needed here: give another file"
            )
        checkpoint = Checkpoint(path, header, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    known = verify or (verify is None and checkpoint.is_small)
    if known and _checksum(header, checkpoint.tensors) != header["sha256"]:
        raise CheckpointError(
            f"{path} was changed or damaged after it was written (checksum differs); use a fresh copy"
        )
    return checkpoint


def peek(path: str | Path) -> dict[str, Any]:
    """The header alone, without reading a tensor.

    Raises:
        CheckpointError: as ``load``, except for the kind and the checksum.
    """
    path = Path(path)
    with _opened(path) as file:
        return _header(path, file.metadata())


def fingerprint(path: str | Path) -> str:
    """16 hexadecimal digits that name the content: from the header of a file of ours, else the SHA-256 of the bytes.

    Raises:
        CheckpointError: no such file.
    """
    path = Path(path)
    try:
        return str(peek(path)["sha256"])[:16]
    except CheckpointError:
        return sha256_of(path)[:16]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits, at any size in one megabyte of memory.

    Raises:
        CheckpointError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def load_state(network: nn.Module, tensors: Mapping[str, Tensor], *, source: str | Path, assign: bool = False) -> None:
    """Copy tensors into a network, key by key; float16 on disk becomes the network's own type.

    Args:
        network: changed in place; nothing is changed if anything does not fit.
        tensors: exactly the network's parameters and buffers.
        source: file named in the message.
        assign: take the tensors themselves, for a network on the device ``meta``.
    Raises:
        CheckpointError: missing, unexpected or wrongly shaped entries.
    """
    wanted = network.state_dict()
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    problems = [
        ("missing", [name for name in wanted if name not in tensors]),
        ("unexpected", [name for name in tensors if name not in wanted]),
        ("of another shape", misshapen),
    ]
    if found := [f"{len(keys)} {what}: {some(keys)}" for what, keys in problems if keys]:
        fits = sum(name in tensors for name in wanted) - len(misshapen)
        raise CheckpointError(
            f"{source} does not fit {type(network).__name__}: {fits} of {len(wanted)} entries fit; {'; '.join(found)}. "
            "Give the checkpoint this network was made for, or the config that belongs to the file"
        )
    network.load_state_dict(dict(tensors), assign=assign)


def without_weight_norm(state: Mapping[str, Tensor], *, keep: int) -> dict[str, Tensor]:
    """Replace each ``weight_g``, ``weight_v`` (or torch's newer ``parametrizations``) by their weight.

    A pair of which one half is missing is kept as it is, for ``load_state`` to name.

    Args:
        state: of a network.
        keep: the axis of the weight that the norm is not taken over.
    """
    import torch

    result = dict(state)
    for length, direction in (("weight_g", "weight_v"), (f"{_PARAMETRIZED}0", f"{_PARAMETRIZED}1")):
        for name in [name for name in state if name.endswith(f".{direction}")]:
            stem = name.removesuffix(direction)
            if stem + length in state:
                weight, size = result.pop(name).float(), result.pop(stem + length).float()
                result[f"{stem}weight"] = torch._weight_norm(weight, size, keep)
    return result


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to: renamed to it on success, removed on any failure, Ctrl-C included.

    A folder that does not exist is made, and removed on failure.

    Raises:
        CheckpointError: the disk is full or the place cannot be written to.
    """
    try:
        with new_folder(path.parent), replacing(path) as temporary:
            yield temporary
    except Exception as error:
        # the Rust side of safetensors reports a full disk as its own error type, not as OSError
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise CheckpointError(_unwritten(path, error)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all.

    Raises:
        CheckpointError: as ``atomic_path``.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """``atomic_path`` for a folder that exists; a full disk or an unwritable place stays an OSError."""
    _sweep(path.parent)
    # a name of its own for every writer, and the process, so that the next run knows whether it is still alive
    temporary = path.with_name(f".speechssl-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@functools.cache
def _machine() -> str:
    """8 hexadecimal digits of this machine or container: numbers of processes mean nothing on another."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


@functools.cache
def _sweep(folder: Path) -> None:
    """Remove what processes of this machine that were killed left in a folder; once in the life of this process."""
    if os.name != "posix":
        return  # asking whether a process lives would end it
    for stale in folder.glob(f".speechssl-{_machine()}-*-*.part"):
        number = stale.name.split("-")[2]
        with contextlib.suppress(OSError):
            if number.isdecimal() and not _lives(int(number)):
                stale.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def _unwritten(path: Path, error: BaseException) -> str:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    cure = "free some space" if full else "choose another place, or make this one writable"
    return f"cannot write {path}: {getattr(error, 'strerror', None) or error}; nothing was left behind: {cure}"


def _plain_header(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(header.get("kind"), str) or not header["kind"]:
        raise CheckpointError(f"cannot write {path}: its header has no kind (encoder, vocoder, voice ...)")
    kept = {key: value for key, value in header.items() if key != "sha256"}
    try:
        # through JSON and back, so that what is hashed now equals what will be read
        plain: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **kept}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"cannot write {path}: its header does not fit in JSON: {error}") from error
    return plain


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    import torch

    facts = {key: value for key, value in header.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type, unused-ignore]
        for start in range(0, len(flat), BLOCK):
            digest.update(flat[start : start + BLOCK])
    return digest.hexdigest()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    must_be_file(path)
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} {_what_it_is(path)}; a safetensors file written by speechssl is needed ({error})"
        ) from error
    with file as opened:
        yield opened


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(9)
    size = path.stat().st_size
    if start[:2] == b"PK":
        return "is a zip archive, as PyTorch's .pt and .pth files are"
    if start[:1] == b"\x80" and start[1:2] <= b"\x05":
        return "is a Python pickle, which can hold code and is never opened"
    claimed = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and claimed < 100 << 20:
        return f"is truncated or damaged: {size} bytes are there"
    return f"is not a safetensors file ({size} bytes)"


def must_be_file(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; one file is needed")
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; check the path")
    if not path.is_file():  # a pipe would let the reader wait for ever
        raise CheckpointError(f"{path} is a pipe or a device; one file is needed")


def _header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    if METADATA_KEY not in (metadata or {}):
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of speechssl (no {METADATA_KEY!r} header); "
            "give a file that speechssl wrote"
        )
    try:
        header = foreign.parse_object((metadata or {})[METADATA_KEY], "its JSON")
        kind, version, checksum = header["kind"], header["format"], header["sha256"]
    except InputError as error:
        raise CheckpointError(f"{path} has a damaged header ({error}); use a fresh copy") from error
    except KeyError as error:
        raise CheckpointError(f"{path} has a damaged header (no {error}); use a fresh copy") from error
    if not (isinstance(kind, str) and isinstance(version, int) and isinstance(checksum, str)):
        raise CheckpointError(f"{path} has a damaged header (kind {kind!r}, format {version!r}); use a fresh copy")
    if version > FORMAT:
        raise CheckpointError(f"{path} has format {version}; this speechssl reads up to {FORMAT}: update speechssl")
    return header
