"""Receipts inside files: the tags of WAV, FLAC, Opus and MP3, and the sound they are bound to."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechssl import checkpoints
from speechssl.audio import WRITABLE
from speechssl.errors import InputError

FORMAT = "speechssl-receipt/1"
TAG = "SPEECHSSL_RECEIPT"
LARGEST = 1 << 20  # bytes of a receipt; a bigger one is none of ours


# ---- the sound


def sound(path: Path) -> dict[str, Any]:
    """What the receipt says of the sound: ``coding``, ``sha256`` and, for samples, their rate, number and channels.

    Raises:
        InputError: another extension, or a file that cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"{path}: receipts are for {', '.join(WRITABLE)}")
    try:
        if suffix in (".wav", ".flac"):
            return _samples(path)
        packets = _mp3_frames(path) if suffix == ".mp3" else _ogg_packets(path)
        digest = hashlib.sha256()
        for packet in packets:
            digest.update(packet)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read ({error}); a whole recording needed") from error
    return {"coding": suffix[1:] if suffix == ".mp3" else "ogg", "sha256": digest.hexdigest()}


def _samples(path: Path) -> dict[str, Any]:
    """Whole numbers as int32 (libsndfile shifts 16 and 24 bits up), so that WAV and FLAC agree; floats as they are."""
    import soundfile

    digest = hashlib.sha256()
    with soundfile.SoundFile(path) as file:
        kind = "float32" if file.subtype == "FLOAT" else "int32"
        for block in file.blocks(1 << 18, dtype=kind):
            digest.update(block.astype("<f4" if kind == "float32" else "<i4").tobytes())
        shape = {"sample_rate": file.samplerate, "samples": file.frames, "channels": file.channels}
    return {"coding": kind, "sha256": digest.hexdigest(), **shape}


def _ogg_packets(path: Path) -> Iterator[bytes]:
    """Packets after the two of the header (names and comments)."""
    from mutagen.ogg import OggPage

    number = 0
    with path.open("rb") as file:
        while True:
            try:
                page = OggPage(file)
            except EOFError:
                return
            for packet in page.packets:
                # a packet that continues on the next page ends there
                if number >= 2:
                    yield packet
                number += 1
            if not page.complete and page.packets:
                number -= 1


def _mp3_frames(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    start = 0
    if data[:3] == b"ID3":
        size = [byte & 0x7F for byte in data[6:10]]
        start = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
    end = len(data) - 128 if data[-128:-125] == b"TAG" else len(data)
    yield data[start:end]


# ---- inside the file


def embed_in(path: Path, text: str) -> None:
    """Write the tag into a copy, and let it take the file's place."""
    with checkpoints.atomic_path(path) as temporary:
        shutil.copyfile(path, temporary)
        writer = {".wav": _tag_wav, ".flac": _tag_flac, ".mp3": _tag_mp3}.get(path.suffix.lower(), _tag_opus)
        writer(temporary, text)


def _tag_wav(path: Path, text: str) -> None:
    data = text.encode("ascii") + b"\0"
    data += b"\0" * (len(data) % 2)
    chunk = b"INFOICMT" + struct.pack("<I", len(data)) + data
    with path.open("r+b") as file:
        kept = b"".join(
            name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
            for name, body in _riff_chunks(file.read())
            if not (name == b"LIST" and body[:4] == b"INFO")
        )
        body = b"WAVE" + kept + b"LIST" + struct.pack("<I", len(chunk)) + chunk
        if len(body) >= 1 << 32:
            raise InputError("a WAV file of 4 GB or more holds no receipt; write .flac")
        file.seek(0)
        file.truncate()
        file.write(b"RIFF" + struct.pack("<I", len(body)) + body)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise InputError("a WAV file without a RIFF header; write it anew")
    place = 12
    while place + 8 <= len(data):
        size = struct.unpack("<I", data[place + 4 : place + 8])[0]
        yield data[place : place + 4], data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def _tag_flac(path: Path, text: str) -> None:
    from mutagen.flac import FLAC

    file = FLAC(path)
    if file.tags is None:
        file.add_tags()
    file.tags[TAG] = text
    file.save()


def _tag_opus(path: Path, text: str) -> None:
    from mutagen.oggopus import OggOpus

    file = OggOpus(path)
    file.tags[TAG] = text
    file.save()


def _tag_mp3(path: Path, text: str) -> None:
    from mutagen.id3 import ID3, TXXX, ID3NoHeaderError

    try:
        tags = ID3(path)
    except ID3NoHeaderError:
        tags = ID3()
    tags.delall(f"TXXX:{TAG}")
    tags.add(TXXX(encoding=3, desc=TAG, text=text))
    tags.save(path)


def extract_from(path: Path) -> str | None:
    """The text inside, if there is any."""
    import mutagen

    suffix = path.suffix.lower()
    if suffix == ".wav":
        return _wav_text(path)
    try:
        file = mutagen.File(path)
    except (mutagen.MutagenError, OSError):
        return None
    if file is None or file.tags is None:
        return None
    found = file.tags.get(f"TXXX:{TAG}" if suffix == ".mp3" else TAG)
    return str(found[0]) if found else None


def _wav_text(path: Path) -> str | None:
    try:
        chunks = list(_riff_chunks(path.read_bytes()))
    except (InputError, OSError, struct.error):
        return None
    for name, body in chunks:
        if name == b"LIST" and body[:8] == b"INFOICMT":
            size = struct.unpack("<I", body[8:12])[0]
            text = body[12 : 12 + size].rstrip(b"\0").decode("utf-8", "replace")
            return text if FORMAT in text else None
    return None


def text_of(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is too large for a receipt; give the one speechssl wrote")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the receipt {path}: {error}") from error


def parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} holds a damaged receipt ({error})") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path} holds no receipt of the format {FORMAT}")
    return found
