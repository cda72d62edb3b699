"""Odd values for every argument and option of every command, for the long attack: calls that are right but for one."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attack_service import RAW

from speechssl import audio, cli
from speechssl.signals import Waveform

# calls that are right, on the files of ``prepared``; {new} and {name} name nothing yet
RIGHT = """
convert a.wav --voice eric --output {new}.wav | say Hi. --voice eric --output {new}.wav
features a.wav --output {new}.safetensors | report a.wav b.wav | doctor | docs | demo --output {new}
live --list-devices
app | voice add {name} a.wav --layer 4 | voice consent eve Eve:reading | voice list | voice show eve
voice remove eve | voice export eve {new}.safetensors | voice import eve.safetensors --name {name}
units fit a.wav --k 2 --passes 1 --output {new}.safetensors | units encode a.wav --output {new} | units check units
units report a.wav --output {new} | units tokenizer --base gpt2 --output {new} | units bpe units --output {new}.json
units pack units --tokenizer units --output {new}.parquet | units decode 1,2,3 --voice eric --output {new}.wav
units import book.npy --features spectra/1 --output {new}.safetensors
probe classify people --layers 1 --heads linear --alone --output {new}
probe recognise list.csv --layers 1 --steps 1 --alone --output {new}
probe anomalies people people --layers 1 --alone --output {new} | probe rank a.wav b.wav --layers 1 --alone
receipt show signed.wav | receipt check signed.wav | receipt trust signed.wav --name Eve | data list
data clear encodings
verify a.wav b.wav | embed a.wav | enrol eve a.wav | identify a.wav | speakers list | speakers show eve
speakers remove eve | speakers export | calibrate people | trials people --output {new}.txt
evaluate people
"""
WORDS = (
    "", " ", ".", "..", "-", "--", "-1", "0", "1", "3", "0.5", "nan", "inf", "-inf", "1e999", "1e-9", "9" * 40, "1,2",
    "a=b", "a=nan", "eric=0", "eric=1,ada", "a\nb", "\x1b[2J", "\u202eevil", "a\u200bb", "\udcff", "x" * 5000, "=1+1",
    ": a", "[", "*", "(", "~", "a/b", "{}", "[]", "null", "true", "ada", "eve", "eric", "tiny", "tiny/100", "mfcc",
    "untrained:x", "auto", "source", "level", "contour=2", "é" * 64, "a.wav", "b.wav", "missing.wav", "empty", "pipe",
    "people", "list.csv", "units", "eve.safetensors", "book.npy", "signed.wav", "/dev/null", "/dev/zero",
    "http://127.0.0.1:1/a.wav", "speakers.sqlite", "/", "/proc/self/mem", "/nobody/x/y",
)  # fmt: skip


def all_of(group: Any, names: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command by its names."""
    below = {}
    for name, command in getattr(group, "commands", {}).items():
        deeper = all_of(command, (*names, name))
        below |= deeper or {(*names, name): command}
    return below


def prepared(folder: Path, speech: Waveform) -> list[list[str]]:
    """Write the files that the right calls name; return these calls."""
    from helpers import Spectra

    from speechssl.app import server
    from speechssl.receipts import signing
    from speechssl.voices import VoiceLibrary

    server.serve = lambda *_, **__: None  # what is served is attacked elsewhere
    for number, name in enumerate(
        ("a.wav", "b.wav", "people/x/1.wav", "people/x/2.wav", "people/y/1.wav", "people/y/2.wav")
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(folder / name, Waveform(speech.samples[500 * number :][:20_000].clone(), 16_000))
    audio.write(folder / "signed.wav", speech)
    signing.issue(folder / "signed.wav", {"what": "a test"}, signing.Signer())
    library = VoiceLibrary()
    library.add("eve", [folder / "a.wav"], Spectra())
    library.export("eve", folder / "eve.safetensors")
    np.save(folder / "book.npy", np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32))
    (folder / "list.csv").write_text("path,text\na.wav,one two\nb.wav,two one\n")
    (folder / "empty").touch()
    assert cli.run(["units", "encode", str(folder / "a.wav"), "--output", str(folder / "units"), "--quiet"]) == 0
    return [one.split() for one in RIGHT.replace("\n", " | ").split(" | ") if one.strip()]


def cases(folder: Path, calls: list[list[str]], count: int, seed: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """So many calls, all arguments of all commands in turn."""
    known = all_of(cli.command())
    assert {tuple(call[: len(name)]) for name in known for call in calls if tuple(call[: len(name)]) == name} == set(
        known
    )
    places = [(call, option) for call in calls for option in known[_names(call, known)].params]
    draw = random.Random(seed)
    draw.shuffle(places)
    for number in range(count):
        call, option = places[number % len(places)]
        words = [one.format(new=f"new/{number}", name=f"name {number}") for one in call]
        words = changed(words, option, len(_names(call, known)), draw)
        yield f"{number} {words}"[:300], lambda words=words: tried(words)


def _names(call: list[str], known: dict[tuple[str, ...], Any]) -> tuple[str, ...]:
    return next(name for name in known if tuple(call[: len(name)]) == name)


def changed(words: list[str], option: Any, named: int, draw: random.Random) -> list[str]:
    """The call with another value for one option, or in place of one argument."""
    name = max(option.opts, key=len)
    if not name.startswith("-"):
        end = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
        place = draw.randrange(named, max(end, named + 1))
        return [*words[:place], draw.choice(WORDS), *words[place + 1 :]]
    if name in words:
        place = words.index(name) + 1
        return [*words[:place], draw.choice(WORDS), *words[place + 1 :]]
    return [*words, name] if option.is_flag else [*words, name, draw.choice(WORDS)]


def tried(words: list[str]) -> None:
    """Run a command; raises if it fails in words of Python."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        code = cli.run(words)
    said = errors.getvalue()
    assert code in (0, 1, 2, 3), code
    assert code == 0 or said.strip(), "no word"
    # asked for, a place in the code is told
    assert "--verbose" in words or not RAW.search(said), said[-300:]
