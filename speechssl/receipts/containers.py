"""WAV, FLAC, Opus and MP3 files, taken apart strictly: anything that players may understand differently is refused.

Sources: WAV: Microsoft's "Multimedia Programming Interface" 1.0, 1991; FLAC: RFC 9639; Ogg: RFC 3533; Opus: RFC 6716,
section 3.1, and RFC 7845; MP3: ISO 11172-3 and 13818-3; ID3: id3.org, "ID3v2.4.0 structure".
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from speechssl.errors import InputError

Facts: TypeAlias = dict[str, Any]
Bytes: TypeAlias = Any  # bytes, or a file mapped into memory

# what players turn the volume by, or cut a recording into tracks by
PLAYED_BY = re.compile(r"(?i)replaygain_|r128_|cuesheet|chapter|itunnorm|itunsmpb")
WAV_CODINGS = {(1, 16): "int32", (1, 24): "int32", (1, 32): "int32", (3, 32): "float32"}  # format tag, bits
FLAC_BLOCKS = {1, 3, 4, 6}  # padding, seek table, comments, picture; the first block, 0, is that of the stream
TEXT_FRAMES = re.compile("T[A-Z0-9]{3}|W[A-Z0-9]{3}|COMM|USLT|APIC")  # of ID3
BITRATES = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # kbit/s of MPEG-1, layer III
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # of MPEG-2 and 2.5
}
LAYER_3 = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")
SWAPPED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # each byte with its bits in the other order


def structure(data: Bytes, suffix: str) -> Facts:
    """What the container says of the sound: rate, channels, number of samples, and how it is to be played.

    Args:
        data: of the whole file.
        suffix: of its name, in small letters.
    Raises:
        InputError: the file is built otherwise than speechssl builds it, in any way that a player may act on.
    """
    readers: dict[str, Callable[[Bytes], Facts]] = {".wav": _wav, ".flac": _flac, ".mp3": _mp3}
    try:
        return readers.get(suffix, _opus)(data)
    except (struct.error, IndexError) as error:
        raise _odd("it ends in the middle of a header") from error


def riff_chunks(data: Bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and number of bytes of each chunk of a RIFF file, which begin at byte 12."""
    place = 12
    while place < len(data):
        name, size = struct.unpack("<4sI", data[place : place + 8])
        if place + 8 + size > len(data):
            raise _odd(f"its chunk {name!r} is longer than the file")
        yield name, place + 8, size
        place += 8 + size + size % 2


def _odd(what: str) -> InputError:
    return InputError(f"{what}; the file as speechssl wrote it needed")


def _wav(data: Bytes) -> Facts:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _odd("it is no WAV file with a RIFF header")
    if struct.unpack("<I", data[4:8])[0] + 8 != len(data):
        raise _odd("its header names another number of bytes than there are")
    chunks = list(riff_chunks(data))
    names = [name for name, _, _ in chunks]
    if unknown := set(names) - {b"fmt ", b"fact", b"PEAK", b"data", b"LIST"}:
        raise _odd(f"it has a chunk {min(unknown)!r}")
    if names.count(b"data") != 1 or names[:1] != [b"fmt "] or names.count(b"fmt ") != 1:
        raise _odd("it has not one chunk 'fmt ' and, after it, one chunk 'data'")
    for name, start, _ in chunks:
        if name == b"LIST" and data[start : start + 4] != b"INFO":
            raise _odd("it has a list of something else than texts")
    places = {name: (start, size) for name, start, size in chunks}
    tag, channels, rate, per_second, align, bits = struct.unpack("<HHIIHH", data[20:36])
    size = places[b"data"][1]
    good = align == channels * bits // 8 and align and per_second == rate * align and size % align == 0
    if places[b"fmt "][1] != 16 or (tag, bits) not in WAV_CODINGS or not good:
        raise _odd("its format is none of 16, 24 and 32 bits, or contradicts itself")
    coding = WAV_CODINGS[tag, bits]
    return {"coding": coding, "sample_rate": rate, "samples": size // align, "channels": channels}


def _flac(data: Bytes) -> Facts:
    if data[:4] != b"fLaC":
        raise _odd("it does not begin as FLAC does")
    kinds, place, last = [], 4, 0
    while not last:
        last, kind, size = data[place] >> 7, data[place] & 127, int.from_bytes(data[place + 1 : place + 4], "big")
        kinds.append((kind, size))
        if kind == 4:
            _check_comments(data[place + 4 : place + 4 + size])
        place += 4 + size
    rest = [kind for kind, _ in kinds[1:]]
    if kinds[0] != (0, 34) or set(rest) - FLAC_BLOCKS or rest.count(4) > 1 or data[place] != 0xFF:
        raise _odd("its blocks are not those of one stream, or hold what a player acts on")
    packed = int.from_bytes(data[18:26], "big")  # 20 bits of rate, 3 of channels, 5 of depth, 36 of samples
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    if bits not in (16, 24) or not any(data[26:42]):
        raise _odd(f"it has {bits} bits, or no checksum of its samples")
    facts = {"coding": "int32", "sample_rate": rate, "samples": packed & (1 << 36) - 1, "channels": channels}
    return {**facts, "bits": bits, "md5": data[26:42].hex()}


def _check_comments(data: bytes) -> None:
    """Comments of FLAC and Opus: their number, and none that a player acts on."""
    (length,) = struct.unpack("<I", data[:4])
    (count,) = struct.unpack("<I", data[4 + length : 8 + length])
    place = 8 + length
    for _ in range(count):
        (length,) = struct.unpack("<I", data[place : place + 4])
        text = data[place + 4 : place + 4 + length]
        if len(text) < length:
            raise _odd("its comments are longer than their block")
        if PLAYED_BY.match(text[:64].decode("latin-1")):
            raise _odd(f"a comment turns the volume or cuts the recording ({text[:30]!a})")
        place += 4 + length


# ---- Opus


def _opus(data: Bytes) -> Facts:
    pages = list(_pages(data))
    head, tags = (pages[number][1][0] for number in (0, 1)) if len(pages) > 2 else (b"", b"")
    if len(head) != 19 or head[:9] != b"OpusHead\x01" or tags[:8] != b"OpusTags":
        raise _odd("it does not begin as Opus of one or two channels does")
    channels, pre_skip, rate, gain, family = struct.unpack("<BHIhB", head[9:])
    if family or channels not in (1, 2) or pages[0][0] or pages[1][0]:
        raise _odd("its header is that of another kind of Opus")
    _check_comments(tags[8:])
    digest, plain, total, count = hashlib.sha256(), hashlib.sha256(), 0, 0
    for number, (granule, packets) in enumerate(pages[2:], start=3):
        before = total
        for packet in packets:
            digest.update(struct.pack("<I", len(packet)) + packet)
            plain.update(packet)
            total += _opus_samples(packet)
            count += 1
        if granule != total and not (number == len(pages) and before < granule < total):
            raise _odd(f"page {number} ends at sample {granule}, its packets at {total}")
    end = pages[-1][0]
    if end <= pre_skip:
        raise _odd("nothing of it is to be played")
    played = {"pre_skip": pre_skip, "gain": gain, "end": end, "packets": count}
    facts = {"coding": "opus", "sha256": digest.hexdigest(), "sample_rate": rate, "channels": channels}
    return {**facts, **played, "padding": total - end, "plain": plain.hexdigest()}


def _pages(data: Bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Last sample and packets of each page of the only logical stream; several pages of a long comment count as one."""
    place, number, headers, serial, rest = 0, 0, 0, None, b""
    while place < len(data):
        magic, version, flags, granule, stream, sequence, checksum, count = struct.unpack(
            "<4sBBqIIIB", data[place : place + 27]
        )
        lengths = data[place + 27 : place + 27 + count]
        end = place + 27 + count + sum(lengths)
        page = data[place:end]
        if magic != b"OggS" or version or len(page) < end - place or _ogg_crc(page) != checksum:
            raise _odd(f"page {number + 1} is damaged, or something else")
        flagged = bool(rest) | (number == 0) << 1 | (end == len(data)) << 2  # continued, first, last
        if flags != flagged or sequence != number or stream != (stream if serial is None else serial):
            raise _odd(f"page {number + 1} is of another stream, or out of order")
        packets, start = [], place + 27 + count
        for length in lengths:
            rest += data[start : start + length]
            start += length
            if length < 255:
                packets.append(rest)
                rest = b""
        if (headers < 2 and ((rest and packets) or len(packets) > 1)) or (headers >= 2 and not packets):
            raise _odd("its headers do not lie on pages of their own, or a packet does not end where it should")
        if packets:
            yield granule, packets
        headers += len(packets)
        place, number, serial = end, number + 1, stream
    if rest:
        raise _odd("its last packet has no end")


def _ogg_crc(page: bytes) -> int:
    """CRC-32 of Ogg: zlib's with the bits of each byte, and of the result, the other way round."""
    blank = page[:22] + bytes(4) + page[26:]
    found = ~zlib.crc32(blank.translate(SWAPPED), 0xFFFFFFFF) & 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "big").translate(SWAPPED), "little")


def _opus_samples(packet: bytes) -> int:
    """Samples at 48 kHz of a packet (RFC 6716, section 3.1)."""
    if not packet:
        raise _odd("it has an empty packet")
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config % 4]
    elif config < 16:
        frame = (480, 960)[config % 2]
    else:
        frame = (120, 240, 480, 960)[config % 4]
    count = (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[code]
    if not 0 < frame * count <= 5760:
        raise _odd("it has a packet of an impossible duration")
    return frame * count


# ---- MP3


def _mp3(data: Bytes) -> Facts:
    start = _id3_end(data)
    end = len(data) - 128 if data[-128:-125] == b"TAG" else len(data)
    place, count, kind = start, 0, None
    while place < end:
        length, found = _mp3_frame(data[place : place + 4])
        if place + length > end or (kind or found) != found:
            raise _odd(f"MP3 frame {count + 1} is cut short, or of another rate than those before it")
        place, count, kind = place + length, count + 1, found
    if kind is None:
        raise _odd("it has no MP3 frame")
    digest = hashlib.sha256(data[start:end]).hexdigest()
    return {"coding": "mp3", "sha256": digest, "sample_rate": kind[1], "channels": kind[2], "frames": count}


def _mp3_frame(head: bytes) -> tuple[int, tuple[int, int, int]]:
    """Bytes of a frame, and its version, rate and channels, by its first four bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or (head[1] >> 3 & 3) == 1:
        raise _odd("between its MP3 frames lies something else")
    version = {3: 1, 2: 2, 0: 25}[head[1] >> 3 & 3]
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if bitrate in (0, 15) or rate == 3:
        raise _odd("an MP3 frame has an impossible header")
    hertz = (44_100, 48_000, 32_000)[rate] // {1: 1, 2: 2, 25: 4}[version]
    kilobits = BITRATES[min(version, 2)][bitrate - 1]
    length = (144_000 if version == 1 else 72_000) * kilobits // hertz + (head[2] >> 1 & 1)
    return length, (version, hertz, 1 if head[3] >> 6 == 3 else 2)


def _id3_end(data: Bytes) -> int:
    """Where the tag at the beginning ends; it holds texts and pictures, and nothing that sounds."""
    if data[:3] != b"ID3":
        return 0
    header: bytes = data[3:10]
    major, _, flags, *sizes = header
    if major not in (3, 4) or flags or max(sizes) > 127:
        raise _odd("its ID3 tag is of an unusual kind")
    end = 10 + (sizes[0] << 21 | sizes[1] << 14 | sizes[2] << 7 | sizes[3])
    tag = data[10:end]
    if len(tag) < end - 10 or LAYER_3.search(tag):
        raise _odd("its ID3 tag is longer than the file, or holds MP3 frames")
    place = 0
    while place < len(tag) and tag[place]:
        name, size = tag[place : place + 4].decode("latin-1"), tag[place + 4 : place + 8]
        if not TEXT_FRAMES.fullmatch(name):
            raise _odd(f"its ID3 tag holds {name!a}")
        length = int.from_bytes(size, "big") if major == 3 else sum(b << 7 * (3 - i) for i, b in enumerate(size))
        text = tag[place + 10 : place + 10 + length]
        if len(text) < length:
            raise _odd("its ID3 tag is damaged")
        if name in ("TXXX", "COMM") and PLAYED_BY.search(text[:64].replace(b"\0", b"").decode("latin-1")):
            raise _odd(f"its ID3 tag turns the volume or cuts the recording ({text[:30]!a})")
        place += 10 + length
    if any(tag[place:]):
        raise _odd("something lies behind the texts of its ID3 tag")
    return end
