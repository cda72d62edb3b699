"""Receipts inside files: the tags of WAV, FLAC, Opus and MP3."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

from speechssl import checkpoints
from speechssl.checkpoints import foreign
from speechssl.errors import InputError
from speechssl.receipts.containers import riff_chunks

FORMAT = "speechssl-receipt/2"  # 1 did not bind how an Opus file is played
FORMATS = ("speechssl-receipt/1", FORMAT)
TAG = "SPEECHSSL_RECEIPT"
LARGEST = 1 << 20  # bytes of a receipt; a bigger one is none of ours


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
        whole = _riff(file.read())
        kept = b"".join(
            name + struct.pack("<I", size) + whole[start : start + size] + b"\0" * (size % 2)
            for name, start, size in riff_chunks(whole)
            if not (name == b"LIST" and whole[start : start + 4] == b"INFO")
        )
        body = b"WAVE" + kept + b"LIST" + struct.pack("<I", len(chunk)) + chunk
        if len(body) >= 1 << 32:
            raise InputError("a WAV file of 4 GB or more holds no receipt; write .flac")
        file.seek(0)
        file.truncate()
        file.write(b"RIFF" + struct.pack("<I", len(body)) + body)


def _riff(data: bytes) -> bytes:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise InputError("a WAV file without a RIFF header; write it anew")
    return data


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
    return _only(list(map(str, found or ())), path)


def _only(found: list[str], path: Path) -> str | None:
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found)} receipts, of which programs may show any; one needed")
    return found[0] if found else None


def _wav_text(path: Path) -> str | None:
    found = []
    try:
        data = _riff(path.read_bytes())
        for name, start, size in riff_chunks(data):
            if name == b"LIST" and data[start : start + 4] == b"INFO":
                # a list is built as the whole is
                listed = data[start - 8 : start + size]
                found += [
                    listed[place : place + length] for name, place, length in riff_chunks(listed) if name == b"ICMT"
                ]
    except (InputError, OSError, struct.error):
        return None
    texts = [text.rstrip(b"\0").decode("utf-8", "replace") for text in found]
    return _only([text for text in texts if '"speechssl-receipt/' in text], path)


def text_of(path: Path) -> str:
    return foreign.read_text(path, most=LARGEST)


def parsed(text: str, path: Path) -> dict[str, Any]:
    found = foreign.parse_object(text, f"the receipt in {path}")
    if found.get("format") not in FORMATS:
        raise InputError(
            f"{path} holds no receipt of the format {FORMAT}, nor of an older one; if it is of a newer one, update "
            "speechssl"
        )
    return found
