"""Receipts bind what is heard: whoever changes how a file plays, or signs it again, does not get "genuine"."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechssl import audio, cli
from speechssl.errors import InputError, SpeechSSLError
from speechssl.receipts import containers, signing, trust
from speechssl.signals import Waveform

SUFFIXES = (".wav", ".flac", ".opus", ".mp3")
FACTS = {"what": "a test", "consent": [{"who": "Ada"}]}


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHSSL_KEY", str(tmp_path / "keys" / "key.pem"))
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "data" / "voices"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of noise of each kind, with a receipt, and the key that signed."""
    folder = tmp_path_factory.mktemp("made")
    noise = torch.randn(24_000, generator=torch.Generator().manual_seed(0)) * 0.1
    for suffix in SUFFIXES:
        audio.write(folder / f"a{suffix}", Waveform(noise, 24_000))
        signing.issue(folder / f"a{suffix}", FACTS, signing.Signer(folder / "key.pem"))
        signing.beside(folder / f"a{suffix}").unlink()
    return folder


@pytest.fixture
def given(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a signed file; its key is that of this machine."""

    def copy(suffix: str) -> Path:
        (tmp_path / "keys").mkdir(exist_ok=True)
        shutil.copy(made / "key.pem", tmp_path / "keys" / "key.pem")
        return shutil.copy(made / f"a{suffix}", tmp_path / f"a{suffix}")

    return copy


def ogg_pages(data: bytes) -> list[bytes]:
    starts = [place for place in range(len(data)) if data[place : place + 4] == b"OggS"]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def with_checksum(page: bytes) -> bytes:
    return page[:22] + struct.pack("<I", containers._ogg_crc(page)) + page[26:]


def changed_page(data: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    pages = ogg_pages(data)
    pages[number] = with_checksum(change(pages[number]))
    return b"".join(pages)


def put(text: bytes, place: int) -> Callable[[bytes], bytes]:
    return lambda page: page[:place] + text + page[place + len(text) :]


def id3(*frames: bytes, padding: bytes = b"") -> bytes:
    body = b"".join(frames) + padding
    size = bytes(len(body) >> 7 * (3 - i) & 127 for i in range(4))
    return b"ID3\x04\0\0" + size + body


def id3_frame(name: bytes, body: bytes) -> bytes:
    return name + bytes(len(body) >> 7 * (3 - i) & 127 for i in range(4)) + b"\0\0" + body


def behind_id3(data: bytes, *more: bytes, padding: bytes = b"") -> bytes:
    """The tag of the receipt with more in it, and the frames."""
    end, length = containers._id3_end(data), sum(byte << 7 * (3 - i) for i, byte in enumerate(data[14:18]))
    return id3(data[10 : 20 + length], *more, padding=padding) + data[end:]


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def mp3_frames(data: bytes) -> bytes:
    return data[containers._id3_end(data) :]


def flac_comment(data: bytes, comment: bytes) -> bytes:
    """The FLAC file with a second block of comments, or with a comment more in the first."""
    block = struct.pack("<I", 0) + struct.pack("<I", 1) + struct.pack("<I", len(comment)) + comment
    return data[:42] + b"\x04" + len(block).to_bytes(3, "big") + block + data[42:]


ATTACKS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gain of -20 dB": (".opus", lambda data: changed_page(data, 0, put(struct.pack("<h", -20 * 256), 28 + 16))),
    "pre-skip of half a second": (".opus", lambda data: changed_page(data, 0, put(struct.pack("<H", 24_000), 28 + 10))),
    "an earlier end": (".opus", lambda data: changed_page(data, -1, put(struct.pack("<q", 47_800), 6))),
    "a later end": (".opus", lambda data: changed_page(data, -1, put(struct.pack("<q", 48_900), 6))),
    "another rate": (".opus", lambda data: changed_page(data, 0, put(struct.pack("<I", 16_000), 28 + 12))),
    "a broken page checksum": (".opus", lambda data: data[:-3000] + bytes([data[-3000] ^ 1]) + data[-2999:]),
    "a second stream behind": (".opus", lambda data: data + data),
    "a page twice": (".opus", lambda data: data + ogg_pages(data)[-1]),
    "a volume in a comment": (".opus", lambda data: changed_page(data, 1, lambda page: page.replace(
        b"SPEECHSSL_RECEIPT=", b"R128_TRACK_GAIN=-2"))),
    "a second data chunk": (".wav", lambda data: riff(data[12:], b"data" + struct.pack("<I", 2000) + bytes(2000))),
    "a data chunk before": (".wav", lambda data: riff(
        data[12:36], b"data" + struct.pack("<I", 2000) + bytes(2000), data[36:])),
    "another rate in the header": (".wav", lambda data: data[:24] + struct.pack("<II", 16_000, 32_000) + data[32:]),
    "two channels in the header": (".wav", lambda data: data[:22] + struct.pack(
        "<HIIH", 2, 12_000, 48_000, 4) + data[34:]),
    "a playlist": (".wav", lambda data: riff(data[12:], b"plst" + struct.pack("<I", 4) + bytes(4))),
    "a FLAC behind a WAV": (".wav", lambda data: data + b"fLaC" + bytes(100)),
    "another FLAC behind": (".flac", lambda data: data + data),
    "a FLAC of twice the length": (".flac", lambda data: data[:18] + (
        int.from_bytes(data[18:26], "big") + 24_000).to_bytes(8, "big") + data[26:] + data),
    "a shorter FLAC": (".flac", lambda data: data[:18] + (
        int.from_bytes(data[18:26], "big") - 4_000).to_bytes(8, "big") + data[26:]),
    "no checksum in the FLAC": (".flac", lambda data: data[:26] + bytes(16) + data[42:]),
    "a volume in a FLAC comment": (".flac", lambda data: flac_comment(data, b"REPLAYGAIN_TRACK_GAIN=-20 dB")),
    "an ID3 tag before a FLAC": (".flac", lambda data: id3(id3_frame(b"TIT2", b"\x03a")) + data),
    "frames in a private part": (".mp3", lambda data: behind_id3(data, id3_frame(b"PRIV", mp3_frames(data)[:2000]))),
    "frames in a text": (".mp3", lambda data: behind_id3(data, id3_frame(b"TIT2", b"\0" + mp3_frames(data)[:2000]))),
    "frames in the padding": (".mp3", lambda data: behind_id3(data, padding=b"\0" * 10 + mp3_frames(data)[:2000])),
    "a second tag": (".mp3", lambda data: data[: containers._id3_end(data)] + id3(
        id3_frame(b"TIT2", b"\x03b")) + mp3_frames(data)),
    "a volume in the tag": (".mp3", lambda data: behind_id3(data, id3_frame(b"RVA2", b"x\0\1\xec\0\0"))),
    "ReplayGain in the tag": (".mp3", lambda data: behind_id3(data, id3_frame(
        b"TXXX", b"\x03replaygain_track_gain\0-20 dB"))),
    "frames of another rate behind": (".mp3", lambda data: data + b"\xff\xfb\x90\xc4" + bytes(413)),
    "a frame less": (".mp3", lambda data: data[:-216]),
    "a frame more": (".mp3", lambda data: data + data[-216:]),
    "a WAV behind": (".mp3", lambda data: data + riff(bytes(100))),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_whoever_changes_how_a_file_plays_is_found(name: str, given: Callable[[str], Path]) -> None:
    suffix, attack = ATTACKS[name]
    path = given(suffix)
    before = path.read_bytes()
    assert signing.check(path).verdict == "genuine"
    receipt = path.with_name("receipt.json")
    receipt.write_text(json.dumps(signing.show(path)))
    path.write_bytes(attack(before))
    assert path.read_bytes() != before
    verdict = signing.check(path, receipt=receipt)
    assert (verdict.verdict, verdict.genuine) == ("changed", False)
    assert cli.run(["receipt", "check", str(path), "--receipt", str(receipt)]) == 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bit_anywhere_is_found_or_not_heard(suffix: str, given: Callable[[str], Path]) -> None:
    path = given(suffix)
    before, samples = path.read_bytes(), soundfile.read(path)[0]
    rng = random.Random(0)
    kept = 0
    for _ in range(40):
        place = rng.randrange(len(before))
        path.write_bytes(before[:place] + bytes([before[place] ^ 1 << rng.randrange(8)]) + before[place + 1 :])
        try:
            genuine = signing.check(path).genuine
        except SpeechSSLError:
            genuine = False
        kept += genuine
        assert not genuine or np.array_equal(soundfile.read(path)[0], samples)
    assert kept < (1 if suffix == ".opus" else 4)


def test_signed_again_by_a_stranger(given: Callable[[str], Path], tmp_path: Path) -> None:
    path = given(".wav")
    stranger = signing.Signer(tmp_path / "stranger.pem")
    signing.issue(path, {**FACTS, "consent": [{"who": "nobody"}]}, stranger)
    assert cli.run(["receipt", "check", str(path)]) == 3
    verdict = signing.check(path)
    assert (verdict.verdict, verdict.genuine, verdict.key) == ("unknown key", False, trust.fingerprint(stranger.public))


def test_a_trusted_key_is_genuine_until_it_is_removed(
    given: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = given(".flac")
    other = signing.Signer(tmp_path / "other.pem")
    signing.issue(path, FACTS, other)
    assert cli.run(["receipt", "trust", str(path), "--name", "Studio A"]) == 0
    assert cli.run(["receipt", "check", str(path)]) == 0
    assert "the key of Studio A" in capsys.readouterr().out
    assert trust.place().stat().st_mode & 0o077 == 0
    assert cli.run(["receipt", "trust", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["whose"] for row in listed] == ["this machine", "Studio A"]
    assert cli.run(["receipt", "trust", "--remove", trust.fingerprint(other.public)]) == 0
    assert cli.run(["receipt", "check", str(path)]) == 3
    assert cli.run(["receipt", "trust", listed[1]["key"], "--name", "Studio B"]) == 0
    assert signing.check(path).trusted == "Studio B"


def test_keys_that_are_none_are_not_trusted(given: Callable[[str], Path], tmp_path: Path) -> None:
    path = given(".wav")
    for key in ("", "A" * 43, "../x", "é"):
        with pytest.raises(InputError, match="no public key"):
            trust.read(key)
    receipt = {**signing.show(path), "what": "another"}
    path.with_name("b.json").write_text(json.dumps(receipt))
    assert cli.run(["receipt", "trust", str(path.with_name("b.json")), "--name", "Eve"]) == 2
    trust.place().parent.mkdir(parents=True, exist_ok=True)
    for text in ("[]", "{}", '{"keys": [1]}', '{"keys": [{"key": "AA==", "name": "a"}]}', "[" * 10_000):
        trust.place().write_text(text)
        with pytest.raises(InputError, match="the trusted keys cannot be read"):
            trust.listed()


def of_format_1(path: Path) -> None:
    """Sign as the first version did, which bound the packets of Opus and nothing else."""
    found = signing.show(path)
    output = {"name": path.name, **signing.playback.heard_in_format_1(path)}
    receipt = signing.Signer().sign({**found, "format": "speechssl-receipt/1", "output": output})
    signing.embed_in(path, json.dumps(receipt, ensure_ascii=True, sort_keys=True, separators=(",", ":")))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_receipts_of_the_first_format_are_checked(suffix: str, given: Callable[[str], Path]) -> None:
    path = given(suffix)
    of_format_1(path)
    assert signing.check(path).verdict == "genuine"
    if suffix == ".opus":
        path.write_bytes(ATTACKS["gain of -20 dB"][1](path.read_bytes()))
        (reason,) = signing.check(path).reasons
        assert "of an older speechssl" in reason
        assert "ask its maker to convert again" in reason


def test_a_file_with_two_receipts_is_refused(given: Callable[[str], Path]) -> None:
    path = given(".wav")
    data = path.read_bytes()
    path.write_bytes(riff(data[12:], data[data.index(b"LIST") :]))
    with pytest.raises(InputError, match="holds 2 receipts"):
        signing.show(path)


def test_long_receipts_and_odd_lengths(tmp_path: Path) -> None:
    """A comment of several Ogg pages; 24 bits in an odd number of bytes; floats."""
    noise = Waveform(torch.randn(4801, generator=torch.Generator().manual_seed(0)) * 0.1, 24_000)
    facts = {**FACTS, "voices": [{"name": f"{number:064d}"} for number in range(2000)]}
    for name, subtype in (
        ("a.opus", None),
        ("a.mp3", None),
        ("a.wav", "PCM_24"),
        ("b.wav", "FLOAT"),
        ("a.flac", "PCM_24"),
    ):
        audio.write(tmp_path / name, noise, subtype=subtype)
        signing.issue(tmp_path / name, facts, signing.Signer())
        verdict = signing.check(tmp_path / name)
        assert verdict.verdict == "genuine", (name, verdict.reasons)
