"""Damage to files, at random and on purpose, and one of each format of ours to damage."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from helpers import Spectra

from speechssl import checkpoints
from speechssl.cli.ledger import LEDGER, Ledger
from speechssl.receipts import signing
from speechssl.signals import Embedding, Features, Waveform
from speechssl.units.codebooks import codebook, importing
from speechssl.units.encoding import checking, engine, formats, manifest, workers
from speechssl.units.encoding.records import UnitEncoder
from speechssl.units.language import bpe, tokens
from speechssl.units.report import read_alignments
from speechssl.verification import calibration, trials
from speechssl.verification.band import Band
from speechssl.verification.by_seconds import BySeconds
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.voices import VoiceLibrary, consent

NASTY: list[Any] = [
    *(None, True, -1, 0, 2**70, 1e308, -0.0, "", "\0", "x" * 5000, "\u202e", "\x1b[2J", "../../etc/passwd", "=1+1"),
    *([], {}, [[]], {"": None}, "0" * 64, "nan", [1] * 300, ["a", 1], 0.5),
]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A copy with one to three faults: of bits, of length, of order, of numbers."""
    bytes_ = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        size = len(bytes_)
        start = min(int(rng.random() ** 2 * size), max(0, size - 1))
        end = min(size, start + rng.choice([1, 2, 4, 8, 100, 5000]))
        piece = bytes_[start:end]
        kind = rng.randrange(7)
        if kind == 0 and piece:
            bytes_[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del bytes_[start:]
        elif kind == 2:
            del bytes_[start:end]
        elif kind == 3:
            bytes_[start:start] = piece * rng.choice([1, 3])
        elif kind == 4:
            bytes_[start:end] = bytes([rng.choice([0, 255])]) * len(piece)
        elif kind == 5:
            bytes_[start:end] = rng.randbytes(len(piece))
        else:
            bytes_[start : start + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x01\0\0\0", b'[{"a'])
    return bytes(bytes_)


def twisted(value: Any, rng: random.Random) -> Any:
    """A JSON value with one to three parts replaced, removed or added."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        parts = list(_parts(value))
        if not parts:
            return rng.choice(NASTY)
        holder, key = rng.choice(parts)
        kind = rng.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif kind == 2:
            for _ in range(rng.choice([3, 40])):
                holder[key] = [holder[key]]
        else:
            holder[key] = copy.deepcopy(rng.choice(NASTY))
    return value


def _parts(value: Any) -> Any:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _parts(value[key])


def twisted_text(data: bytes, rng: random.Random) -> bytes:
    """JSON, or lines of it, one of them twisted; or with what is no JSON though some programs read it."""
    lines = data.decode().splitlines() if not data.startswith(b"{\n") else [data.decode()]
    number = rng.randrange(len(lines))
    text = json.dumps(twisted(json.loads(lines[number]), rng))
    wrong = {0: "[" * 100_000, 1: text.replace("0", "NaN", 1), 2: text.replace('"', '"\\ud800', 1), 3: text * 2}
    lines[number] = wrong.get(rng.randrange(20), text)
    return ("\n".join(lines) + "\n").encode()


def forged(path: Path, rng: random.Random) -> None:
    """A file of weights or of a voice whose fields or tensors are others, with the checksum that fits them."""
    kind = checkpoints.peek(path)["kind"]
    file = checkpoints.load(path, kind=kind)
    tensors = {name: tensor.clone() for name, tensor in file.tensors.items()}
    header = copy.deepcopy(file.header)
    if rng.random() < 0.4:
        name = rng.choice(sorted(tensors))
        changes: list[Callable[[torch.Tensor], torch.Tensor]] = [
            lambda one: one[:0], lambda one: one[:1], lambda one: one.double(), lambda one: one.reshape(-1),
            lambda one: one * float("nan"), lambda one: -one - 1, lambda one: one[None], lambda one: one.bool(),
        ]  # fmt: skip
        tensors[name] = rng.choice(changes)(tensors[name])
    else:
        header = twisted(header, rng)
    if not isinstance(header, dict):
        header = {}
    checkpoints.save(path, tensors, {**header, "kind": kind})


def forged_database(path: Path, rng: random.Random) -> None:
    """A database with other values, views, triggers, or a calibration of anything."""
    import sqlite3

    statements = [
        "UPDATE utterance SET {column} = {value}",
        "UPDATE calibration SET value = {value}",
        "ALTER TABLE utterance RENAME TO other; CREATE VIEW utterance AS WITH RECURSIVE t(id) AS (SELECT 1 UNION ALL "
        "SELECT id + 1 FROM t) SELECT id, 'a' AS speaker, 'm@1' AS origin, x'00' AS vector, 'a' AS source, "
        "'b' AS sha256, 1.0 AS seconds, 'c' AS added, NULL AS low, NULL AS high FROM t",
        "DROP TABLE {table}",
        "CREATE TRIGGER t BEFORE INSERT ON utterance BEGIN DELETE FROM utterance; END",
        "ALTER TABLE {table} ADD COLUMN extra AS (zeroblob(1000))",
        "PRAGMA user_version = {number}",
    ]
    column = rng.choice(["speaker", "origin", "vector", "source", "sha256", "seconds", "added", "low", "high"])
    value = rng.choice(["'a'", "NULL", "x'00'", "zeroblob(64)", "x'0000c07f0000c07f'", "1e999", "-1", "'{{}}'", "'[]'"])
    facts = json.dumps(twisted(CALIBRATION.as_dict(), rng)).replace("'", "''")
    filled = {"column": column, "value": rng.choice([value.replace("{{}}", "{}"), f"'{facts}'"]),
              "table": rng.choice(["utterance", "calibration"]), "number": rng.choice([-1, 0, 1, 9])}  # fmt: skip
    weights = [4, 4, 1, 1, 1, 1, 1]
    with sqlite3.connect(path) as connection, contextlib.suppress(sqlite3.IntegrityError):
        connection.executescript(rng.choices(statements, weights)[0].format(**filled))
    connection.close()


# ---- one of each format


CALIBRATION = calibration.Calibration(
    "m@1", 10.0, -5.0, 0.5, 0.4, 0.6, 0.01, 0.0, 0.02, "a test",
    by_seconds=BySeconds((1.0, 9.0), (2.0, 20.0), (1.0, 2.0), (0.1, 0.1), (0.0, 0.0)),
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A format of ours.

    Args:
        path: of a good file, in a folder of its own with what belongs to it.
        read: everything that is done with it.
        forge: changes it in place, with checksums that fit; None if bytes are all there is to change.
    """

    path: Path
    read: Callable[[Path], object]
    forge: Callable[[Path, random.Random], None] | None = None

    def attacked(self, folder: Path, rng: random.Random) -> Path:
        """A damaged or forged copy in a folder."""
        target = folder / self.path.relative_to(self.path.parents[0])
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.path.parent, folder)
        if self.forge is not None and rng.random() < 0.7:
            self.forge(target, rng)
        else:
            target.write_bytes(damaged(target.read_bytes(), rng))
        return target


def _text(path: Path, rng: random.Random) -> None:
    path.write_bytes(twisted_text(path.read_bytes(), rng))


def formats_of_ours(folder: Path, speech: Waveform) -> dict[str, Format]:
    """A good file of each, and how it is read."""
    makers = (_voice, _database, _codebooks, _receipts, _units, _lists)
    found: dict[str, Format] = {}
    for make in makers:
        found |= make(folder / make.__name__, speech)
    return found


def _voice(folder: Path, speech: Waveform) -> dict[str, Format]:
    made = VoiceLibrary(folder / "voice").add("ada", [speech], Spectra(), consent=consent.attest("Ada", "a test")).path

    def read(path: Path) -> None:
        VoiceLibrary(path.parent).list()
        library = VoiceLibrary(path.parent / "taken")
        info = library.import_(path, "eve")
        voice = library.load("eve")
        assert info.references[0].pitch.hertz >= 0
        assert voice.follows().shape == (len(voice),)
        assert voice.pitch.hertz + voice.seconds + voice.spectrum.seconds + voice.tempo.seconds >= 0
        assert (voice.keys.float() @ voice.keys[0].float()).isfinite().all()

    return {"voice": Format(made, read, forged)}


def _database(folder: Path, speech: Waveform) -> dict[str, Format]:
    path = folder / "database" / "speakers.sqlite"
    with SpeakerDatabase(path) as made:
        print_ = Embedding(torch.tensor([1.0, 0.0]), "m@1")
        made.enrol("ada", [Enrolment(print_, "a.wav", "a" * 64, 2.0, Band(100.0, 4000.0))])
        made.set_calibration(CALIBRATION)
        made._connection.execute("PRAGMA journal_mode = DELETE")

    def read(path: Path) -> None:
        with SpeakerDatabase(path) as database:
            database.speakers()
            database.origins()
            database.enrolled("m@1")
            if found := database.calibration("m@1"):
                found.llr(0.5, (2.0, 3.0))
                assert f"{found.false_alarm} {found.source}"
            json.dumps(database.export(), allow_nan=False)
            database.enrol("eve", [Enrolment(print_, "b.wav", "b" * 64, 2.0)])
            database.remove("eve")

    return {"database": Format(path, read, forged_database)}


def _codebooks(folder: Path, speech: Waveform) -> dict[str, Format]:
    centroids = np.random.default_rng(0).normal(size=(1, 7, 40)).astype(np.float32)
    book = codebook.Codebook(centroids, "spectra/1", 50.0).save(folder / "codebook" / "book.safetensors")
    (folder / "npy").mkdir()
    np.save(folder / "npy" / "centroids.npy", centroids[0])
    (folder / "npz").mkdir()
    np.savez_compressed(folder / "npz" / "centroids.npz", centroids=centroids[0])

    def read(path: Path) -> None:
        found = codebook.load(path)
        found.assign(Features(torch.zeros(5, 40), 50.0, "spectra/1"))

    def take(path: Path) -> None:
        importing.import_codebook(path, features="a/1")

    return {
        "codebook": Format(book, read, forged),
        "centroids .npy": Format(folder / "npy" / "centroids.npy", take),
        "centroids .npz": Format(folder / "npz" / "centroids.npz", take),
    }


def _receipts(folder: Path, speech: Waveform) -> dict[str, Format]:
    from speechssl import audio

    found: dict[str, Format] = {}
    for suffix in (".wav", ".flac", ".opus", ".mp3"):
        path = folder / suffix[1:] / f"a{suffix}"
        path.parent.mkdir(parents=True)
        audio.write(path, Waveform(speech.samples[:8000].clone(), 16_000))
        signing.issue(path, {"what": "a test", "consent": [{"who": "Ada"}]}, signing.Signer(folder / "key.pem"))
        found[f"receipt in {suffix}"] = Format(path, signing.check)
    beside = folder / "json" / "a.wav.receipt.json"
    beside.parent.mkdir()
    shutil.copyfile(folder / "wav" / "a.wav.receipt.json", beside)
    shutil.copyfile(folder / "wav" / "a.wav", beside.with_name("a.wav"))
    found["receipt"] = Format(beside, lambda path: signing.check(path.with_name("a.wav"), receipt=path), _text)
    found["key"] = Format(_alone(folder / "key.pem", "key"), signing.Signer)
    return found


def _alone(path: Path, name: str) -> Path:
    target = path.parent / name / path.name
    target.parent.mkdir()
    shutil.copy(path, target)
    return target


def _units(folder: Path, speech: Waveform) -> dict[str, Format]:
    path = folder / "recordings" / "a.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, speech.samples[:8000].numpy(), 16_000)
    centroids = np.random.default_rng(0).normal(size=(1, 7, 40)).astype(np.float32)
    book = codebook.Codebook(centroids, "spectra/1", 50.0)
    encoder = UnitEncoder(Spectra(), book)
    found: dict[str, Format] = {}

    def check(path: Path) -> None:
        checking.check(path.parent)

    for form, suffix in formats.SUFFIXES.items():
        output = folder / form
        entries = manifest.entries([path])
        plan = engine.Plan(entries, book.fingerprint, book.origin, book.frame_rate, book.num_units, form)
        engine.run(plan, output, lambda missing: ((i, workers.attempt(encoder, one)) for i, one in missing))
        part = next(output.glob("part-*"))
        forge = _text if form == "jsonl" else None
        found[f"units {suffix}"] = Format(part, lambda path: [*formats.read_all(path.parent), check(path)], forge)
    shutil.copytree(folder / "jsonl", folder / "meta")
    found["meta of units"] = Format(folder / "meta" / formats.META, check, _text)
    (folder / "bpe").mkdir()
    units = [[1, 2, 1, 2, 3, 1, 2]] * 20
    bpe.train(units, num_units=7, size=12).save(folder / "bpe" / "bpe.json")
    found["byte pairs"] = Format(folder / "bpe" / "bpe.json", lambda path: bpe.load(path).encode([1, 2, 3]), _text)
    vocabulary = {"codebook": "a" * 16, "units": [5, 6, 7], "begin": 8, "end": 9, "eos": 9, "size": 10}
    (folder / "tokens").mkdir()
    (folder / "tokens" / tokens.MAP).write_text(json.dumps(vocabulary))
    found["unit tokens"] = Format(
        folder / "tokens" / tokens.MAP, lambda path: tokens.load_vocabulary(path.parent).speech([0, 1]), _text
    )
    return found


def _lists(folder: Path, speech: Waveform) -> dict[str, Format]:
    texts: dict[str, tuple[str, Callable[[Path], object]]] = {
        "a.jsonl": ('{"path": "a.wav", "text": "one"}\n{"path": "b.wav", "id": 7}\n', _entries),
        "a.csv": ("path,text\na.wav,one\nb.wav,two\n", _entries),
        "a.tsv": ("/data\na.wav\t100\nb.wav\t200\n", _entries),
        "trials.txt": ("1 a.wav b.wav\n0 a.wav c.wav\n", trials.read_trials),
        "trials.csv": ("enrolment,test,label\na.wav,b.wav,1\na.wav,c.wav,0\n", trials.read_trials),
        "enrolments.txt": ("ada a.wav b.wav\neve c.wav\n", trials.read_enrolments),
        "alignments.jsonl": ('{"path": "a.wav", "segments": [["AA", 0, 3, 4], ["B", 7, 2]]}\n', read_alignments),
        LEDGER: ('{"output": "a.wav", "settings": "s", "source_sha256": "a", "output_sha256": "b"}\n', _ledger),
    }
    found: dict[str, Format] = {}
    for number, (name, (text, read)) in enumerate(texts.items()):
        path = folder / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        forge = _text if text.startswith("{") else None
        found[name] = Format(path, read, forge)
    return found


def _entries(path: Path) -> object:
    return manifest.plan_digest(manifest.entries([path]))


def _ledger(path: Path) -> None:
    from speechssl.cli.ledger import Job

    Ledger(path.parent, lambda _: {}).is_done(Job(path, path.parent / "a.wav"))
