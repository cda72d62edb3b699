"""Models, voices and codebooks on disk: one safetensors file each, with its facts in the header, checked on the way in.

The header is a JSON object under the metadata key ``"speechssl"``: ``format``, ``kind`` (``"encoder"``, ``"vocoder"``,
``"voice"`` ...), whatever the kind needs (family, config, origin, provenance, licence), and ``sha256``, the checksum of
the rest of the header and of every tensor. Nothing here executes what a file holds: safetensors has no code, and
published PyTorch files are read as plain tensors only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn


FORMAT = 1
METADATA_KEY = "speechssl"
VERIFY_LIMIT = 256 << 20  # bytes; up to here every load recomputes the checksum, which costs about 0.15 s at this size
_BLOCK = 1 << 20  # bytes hashed or downloaded at a time


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
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the checksum in the header: names the content, whatever the file is called."""
        return str(self.header["sha256"])[:16]


def save(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write one safetensors file, whole or not at all.

    Args:
        path: the file to write; an existing one is replaced only once the new one is complete.
        tensors: by name; moved to the CPU, made contiguous.
        header: JSON-able facts, with at least ``kind``; ``format`` and ``sha256`` are added.
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
        # safetensors leaves its files to their owner alone; a model or a voice is as readable as any other file
        temporary.touch()
        mode = temporary.stat().st_mode
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
    if verify or (verify is None and path.stat().st_size <= VERIFY_LIMIT):
        _verify(checkpoint)
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
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def load_state(network: nn.Module, tensors: Mapping[str, Tensor], *, source: str | Path) -> None:
    """Copy tensors into a network, key by key; float16 on disk becomes the network's own type.

    Args:
        network: changed in place; nothing is changed if anything does not fit.
        tensors: exactly the network's parameters and buffers.
        source: file named in the message.
    Raises:
        CheckpointError: missing, unexpected or wrongly shaped entries.
    """
    wanted = network.state_dict()
    misshapen = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    problems = [
        ("missing", [name for name in wanted if name not in tensors]),
        ("unexpected", [name for name in tensors if name not in wanted]),
        ("of another shape", [_shapes(name, tensors[name], wanted[name]) for name in misshapen]),
    ]
    if found := [f"{len(names)} {what}: {_some(names)}" for what, names in problems if names]:
        fits = sum(name in tensors for name in wanted) - len(misshapen)
        raise CheckpointError(
            f"{source} does not fit {type(network).__name__}: {fits} of {len(wanted)} entries fit; {'; '.join(found)}. "
            "Give the checkpoint this network was made for, or the config that belongs to the file"
        )
    network.load_state_dict(dict(tensors))


def load_pickle_tensors(path: str | Path) -> Any:
    """Read a published PyTorch file (``.pt``, ``.pth``) as tensors and plain containers; code in it is never run.

    Raises:
        CheckpointError: missing, damaged, or holding anything but tensors, numbers, strings and containers of them.
    """
    import torch

    path = Path(path)
    _must_be_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # damaged archives raise almost anything: RuntimeError, EOFError, KeyError, UnpicklingError, UnicodeDecodeError
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path} is not a PyTorch file of plain tensors ({reason[:200]}); it is damaged or holds pickled code, "
            "which is never run: download it again from its publisher"
        ) from error


def cache_dir() -> Path:
    """Where fetched files live: ``$SPEECHSSL_CACHE``, else the platform's cache folder + ``speechssl``."""
    if chosen := os.environ.get("SPEECHSSL_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "speechssl"
    fallback = Path.home() / ("AppData/Local" if sys.platform == "win32" else ".cache")
    root = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(root) if root else fallback) / "speechssl"


def fetch(url: str, *, sha256: str | None, filename: str, licence: str, size: int | None = None) -> Path:
    """A published file from the cache, downloaded the first time; what comes back has exactly the pinned checksum.

    Args:
        url: http(s) address.
        sha256: 64 hexadecimal digits; None is refused, for a file nobody has vouched for must not be loaded unseen.
        filename: its name in the cache folder.
        licence: shown with the download and in messages.
        size: bytes, if known; shown, and compared with the free disk space first.
    Raises:
        CheckpointError: no checksum, offline, another checksum, a full disk.
    """
    target = cache_dir() / filename
    facts = f"{filename} ({'size unknown' if size is None else f'{size / 1e6:.0f} MB'}, licence {licence}) from {url}"
    expected = _pinned(sha256, facts, target)
    if target.exists():
        _compare(target, sha256_of(target), expected, facts)
        return target
    if os.environ.get("SPEECHSSL_OFFLINE"):
        raise CheckpointError(_by_hand(facts, target, expected, "SPEECHSSL_OFFLINE is set"))
    with atomic_path(target) as temporary:
        _check_space(temporary, size, facts)
        try:
            got = _download(url, temporary, size, filename)
        except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError, EOFError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise CheckpointError(_by_hand(facts, target, expected, str(error))) from error
        _compare(temporary, got, expected, facts)
    return target


def hub_is_away(name: str | Path) -> str | None:
    """Why nothing can be fetched from the Hugging Face hub, None where it answers (or ``name`` is a folder here).

    One question without retries, for the hub's own client retries for half a minute.
    """
    if name and Path(name).is_dir():
        return None
    if os.environ.get("SPEECHSSL_OFFLINE"):
        # for whatever else speaks to the hub; read when its client is imported
        os.environ["HF_HUB_OFFLINE"] = "1"
        return "SPEECHSSL_OFFLINE is set"
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    # the client's errors of connection have changed their base before
    except Exception as error:
        reason = str(error).strip().splitlines()
        return f"no connection to {constants.ENDPOINT}: {reason[0] if reason else type(error).__name__}"
    return None


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to: renamed to it on success, removed on any failure, Ctrl-C included.

    Raises:
        CheckpointError: the disk is full or the place cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        # the Rust side of safetensors reports a full disk as its own error type, not as OSError
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise CheckpointError(_unwritten(path, error)) from error
        raise


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
        for start in range(0, len(flat), _BLOCK):
            digest.update(flat[start : start + _BLOCK])
    return digest.hexdigest()


def _verify(checkpoint: Checkpoint) -> None:
    if _checksum(checkpoint.header, checkpoint.tensors) != checkpoint.header["sha256"]:
        raise CheckpointError(
            f"{checkpoint.path} was changed or damaged after it was written (checksum differs); use a fresh copy"
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    _must_be_file(path)
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


def _must_be_file(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; one file is needed")
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; check the path")


def _header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    if METADATA_KEY not in (metadata or {}):
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of speechssl (no {METADATA_KEY!r} header); "
            "give a file that speechssl wrote"
        )
    try:
        header = json.loads((metadata or {})[METADATA_KEY])
        kind, version, checksum = header["kind"], header["format"], header["sha256"]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} has a damaged header ({error!r}); use a fresh copy") from error
    if not (isinstance(kind, str) and isinstance(version, int) and isinstance(checksum, str)):
        raise CheckpointError(f"{path} has a damaged header (kind {kind!r}, format {version!r}); use a fresh copy")
    if version > FORMAT:
        raise CheckpointError(f"{path} has format {version}; this speechssl reads up to {FORMAT}: update speechssl")
    return dict(header)


def _shapes(name: str, got: Tensor, wanted: Tensor) -> str:
    return f"{name} {tuple(got.shape)} instead of {tuple(wanted.shape)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _pinned(sha256: str | None, facts: str, target: Path) -> str:
    if sha256 is None:
        raise CheckpointError(
            f"no checksum is known for {facts}, so it is not downloaded unseen; fetch it yourself, check it with its "
            f"publisher, and give the file's own path, or pass its sha256 and put it at {target}"
        )
    if len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef"):
        raise CheckpointError(f"sha256 {sha256!r} for {target.name} is not 64 hexadecimal digits")
    return sha256.lower()


def _compare(path: Path, got: str, expected: str, facts: str) -> None:
    if got != expected:
        raise CheckpointError(
            f"{path} has SHA-256 {got}, but {expected} is pinned for {facts}; "
            "delete the file and fetch it again, or get it from its publisher"
        )


def _by_hand(facts: str, target: Path, sha256: str, reason: str) -> str:
    return (
        f"cannot download {facts} ({reason}); without a connection, put the file by hand at {target} (SHA-256 {sha256})"
    )


def _check_space(temporary: Path, size: int | None, facts: str) -> None:
    free = shutil.disk_usage(temporary.parent).free
    if size is not None and free < size:
        raise CheckpointError(
            f"{temporary.parent} has {free / 1e6:.0f} MB free, not enough for {facts}; "
            "free some, or set SPEECHSSL_CACHE to another disk"
        )


def _download(url: str, temporary: Path, size: int | None, filename: str) -> str:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("only http and https addresses are fetched")
    digest, done = hashlib.sha256(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "speechssl"})
    with urllib.request.urlopen(request, timeout=30) as answer, temporary.open("xb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else size
        with _progress(filename, total) as advance:
            while block := answer.read(_BLOCK):
                file.write(block)
                digest.update(block)
                done += len(block)
                advance(len(block))
    if length and done < int(length):
        raise EOFError(f"the connection ended after {done} of {length} bytes")
    return digest.hexdigest()


@contextlib.contextmanager
def _progress(filename: str, total: int | None) -> Iterator[Callable[[int], None]]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(filename, total=total)
        yield lambda advanced: bar.advance(task, advanced)


PACKAGED = Path(__file__).parent / "models"


def data_folder() -> Path:
    """Where voices live: ``$SPEECHSSL_VOICES``, else the platform's data folder + ``speechssl/voices``."""
    if chosen := os.environ.get("SPEECHSSL_VOICES"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        root = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "speechssl" / "voices"
