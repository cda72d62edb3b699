"""The long attack, ``make attack``: damaged files, odd values, kills at every write and races, with counts.

Every case is done by a forked process, so that a death and a hang are seen and counted like a raw error. Nothing is
sent anywhere.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import arguments
import calls
import damage
import kills
import torch

from speechssl import audio
from speechssl.errors import SpeechSSLError
from speechssl.signals import Waveform
from speechssl.voices import clips

PATIENCE = 60.0  # seconds of one case; more is a hang
Case = tuple[str, Callable[[], object]]
FORK = multiprocessing.get_context("fork")


def outcomes(cases: Iterable[Case]) -> collections.Counter[str]:
    """Do each case in a forked process; count what came of them, and print each that is not as it should be."""
    waiting = list(cases)
    counts: collections.Counter[str] = collections.Counter()
    while waiting:
        here, there = FORK.Pipe(duplex=False)
        worker = FORK.Process(target=_work, args=(waiting, there))
        worker.start()
        there.close()
        done = 0
        while done < len(waiting):
            found = None
            with contextlib.suppress(EOFError):
                found = here.recv() if here.poll(PATIENCE) else "hung"
            found = found or "died"
            counts[found.split(":")[0]] += 1
            if found not in ("read", "refused"):
                print(f"  {waiting[done][0]}: {found}", flush=True)
            done += 1
            if found in ("hung", "died"):
                break
        worker.kill()
        worker.join()
        del waiting[:done]
    return counts


def _work(cases: list[Case], pipe: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    for _, case in cases:
        try:
            case()
            pipe.send("read")
        except SpeechSSLError as error:
            # whoever reads the message shall know what to do
            pipe.send("refused" if 20 < len(str(error)) < 4000 else f"raw: {error!r:.200}")
        except BaseException as error:
            pipe.send(f"raw: {type(error).__name__}: {error!s:.200}")


def told(what: str, counts: collections.Counter[str], started: float) -> bool:
    """Print a line of counts; return whether all is well."""
    kinds = ("read", "refused", "raw", "died", "hung")
    line = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    print(f"{what}: {sum(counts.values())} cases, {line} ({time.monotonic() - started:.0f} s)", flush=True)
    return not sum(counts[kind] for kind in kinds[2:])


def own_formats(folder: Path, count: int, seed: int) -> bool:
    """Damaged and forged files of our own formats."""
    formats = damage.formats_of_ours(folder / "good", _speech())
    good = True
    for name, one in formats.items():
        started, each = time.monotonic(), max(1, count // len(formats))

        def case(number: int, one: damage.Format = one, name: str = name) -> None:
            one.read(one.attacked(folder / "bad", random.Random(f"{seed} {name} {number}")))

        one.read(one.path)  # the good one is read
        cases = [(f"{name} {number}", lambda number=number, case=case: case(number)) for number in range(each)]
        good &= told(name, outcomes(cases), started)
    return good


def recordings(folder: Path, count: int, seed: int) -> bool:
    """Damaged recordings of all kinds."""
    speech = Waveform(_speech().samples[:8000].clone(), 16_000)
    paths = []
    for suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3"):
        audio.write(folder / f"good{suffix}", speech)
        paths.append(folder / f"good{suffix}")

    def case(number: int) -> None:
        path = paths[number % len(paths)]
        target = folder / f"bad{path.suffix}"
        target.write_bytes(damage.damaged(path.read_bytes(), random.Random(f"{seed} {number}")))
        found = audio.read_mono(target, 16_000)
        assert len(found.samples) < 1_000_000

    started = time.monotonic()
    cases = [(f"recording {number}", lambda number=number: case(number)) for number in range(count)]
    return told("recordings", outcomes(cases), started)


def _speech() -> Waveform:
    whole = audio.read_mono(clips.clip("ada", "sentence").path, 16_000)
    return Waveform(whole.samples[8000:32_000].clone(), 16_000)


COMMANDS = """
voice show {name} | voice remove {name} | voice remove ada -r {name} | voice add {name} {path}
voice add ada {path} --consent {name} | voice export {name} {new} | voice export ada {new} | voice consent ada {name}
voice import {path} --name {name}
speakers show {name} | speakers remove {name} | speakers list --database {path} | speakers export --output {new}
receipt show {path} | receipt check {path} | receipt check {path} --receipt {path}
receipt trust {name} --name {name} | receipt trust {path} --name {name}
receipt trust --remove {name} | units check {path} | data clear {name}
features {path} --output {new} --layer {name} | report {path} | units encode {path} --output {new}
convert {path} --reference {path} --output {new} --k {name}
trials {path} --output {new} --per-speaker {name} | verify {path} {path} --prior {name}
"""
NAMES = (
    "", " ", ".", "..", "-", "--", "-1", "0", "nan", "inf", "1e999", "9" * 40, "a\nb", "\x1b[2J", "\u202eevil",
    "a\u200bb", "\udcff", "x" * 5000, "=1+1", "Ada: ", ": a", "Ada: a test", "[", "*", "~", "a/b", "{}", "[]", "ada",
    "eve", "é" * 64,
)  # fmt: skip


def values(folder: Path, count: int, seed: int) -> bool:
    """Odd values of the command line; then of Python's functions."""
    import speechssl
    from speechssl import cli
    from speechssl.checkpoints import names
    from speechssl.verification.calibration import Calibration
    from speechssl.voices import VoiceLibrary, check_name, consent

    paths = kills.recordings_in(folder, _speech())
    os.mkfifo(folder / "pipe")
    (folder / "empty").write_bytes(b"")
    places = [*map(str, paths), str(folder), str(folder / "pipe"), str(folder / "empty"), "/dev/null", "/dev/zero", "",
              str(folder / "first" / "ada.safetensors"), str(folder / "missing.wav"), "\0", "x" * 5000,
              "http://127.0.0.1:1/a.wav", "\udcff.wav", "*.wav", str(folder / "first" / "speakers.sqlite")]  # fmt: skip
    commands = [one.split() for one in COMMANDS.replace("\n", " | ").split(" | ") if one.strip()]
    functions: list[Callable[[Any], object]] = [
        lambda one: names.checked(one, "a test"), check_name, lambda one: consent.attest(one, one), consent.parse,
        lambda one: consent.Consent.from_dict({"who": one, "purpose": "a", "when": one}),
        VoiceLibrary(folder / "b").load,
        lambda one: VoiceLibrary(folder / "b").add("ada", one, damage.Spectra()), audio.read,
        lambda one: speechssl.verify(one, one),
        lambda one: Calibration.from_dict(one, source="a test"), lambda one: Waveform(one, 16_000), signing_show,
    ]  # fmt: skip

    def case(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        if number % 3 == 0:
            with contextlib.suppress(TypeError, AttributeError):  # of another kind than the signature says
                rng.choice(functions)(rng.choice([*damage.NASTY, *NAMES, *places]))
            return
        new = folder / "new" / str(number)
        slots = {"{name}": lambda: rng.choice(NAMES), "{path}": lambda: rng.choice(places), "{new}": lambda: str(new)}
        code = cli.run([slots[word]() if word in slots else word for word in rng.choice(commands)])
        assert code in (0, 2, 3), code

    os.chdir(folder)
    started = time.monotonic()
    return told("values", outcomes([(f"value {number}", lambda n=number: case(n)) for number in range(count)]), started)


def options(folder: Path, count: int, seed: int) -> bool:
    """Odd values of every argument and option of every command, in calls that are right but for that one."""
    os.environ["SPEECHSSL_VOICES"] = str(folder / "data" / "voices")
    os.environ["SPEECHSSL_CACHE"] = str(folder / "cache")
    os.chdir(folder)
    right = arguments.prepared(folder, _speech())
    os.mkfifo(folder / "pipe")
    started = time.monotonic()
    return told("options", outcomes(arguments.cases(folder, right, count, seed)), started)


def python(folder: Path, count: int, seed: int) -> bool:
    """Odd kinds and values of every argument of Python's entries, in calls that are right but for that one."""
    os.environ["SPEECHSSL_VOICES"] = str(folder / "data" / "voices")
    os.environ["SPEECHSSL_CACHE"] = str(folder / "cache")
    os.chdir(folder)
    arguments.prepared(folder, _speech())
    os.mkfifo(folder / "pipe")
    started = time.monotonic()
    return told("python", outcomes(calls.cases(folder, count, seed)), started)


def signing_show(path: Any) -> object:
    from speechssl.receipts import signing

    return signing.show(path)


def killed(folder: Path, count: int, seed: int) -> bool:
    """kill -9 at every write of everything that cannot be made again."""
    os.environ["SPEECHSSL_KEY"] = str(folder / "key.pem")
    started, total, faults = time.monotonic(), 0, []
    for name, one in kills.operations(kills.recordings_in(folder, _speech())).items():
        done, wrong = kills.killed(name, one, folder)
        total, faults = total + done, [*faults, *wrong]
    for fault in faults:
        print(f"  {fault}")
    print(
        f"kills: {total}, {len(faults)} left something broken or lost ({time.monotonic() - started:.0f} s)", flush=True
    )
    return not faults


def raced(folder: Path, count: int, seed: int) -> bool:
    """Rounds of eight writers at one place."""
    started = time.monotonic()
    found = kills.raced(folder, kills.recordings_in(folder, _speech()))
    for name, (wrote, lost) in found.items():
        print(
            f"races, {name}: {kills.ROUNDS} rounds of {kills.WRITERS} writers, {wrote} exited 0, {lost} lost",
            flush=True,
        )
    print(f"races: {time.monotonic() - started:.0f} s", flush=True)
    return not any(lost for _, lost in found.values())


def service(folder: Path, count: int, seed: int) -> bool:
    """Values of wrong kinds for every argument of every endpoint of a service."""
    script = Path(__file__).parents[1] / "attack_service.py"
    print("service: ", end="", flush=True)
    return not subprocess.run([sys.executable, script, "--number", str(count), "--seed", str(seed)]).returncode


SECTIONS = {
    "formats": own_formats, "recordings": recordings, "values": values, "options": options, "python": python,
    "kills": killed, "races": raced, "service": service,
}  # fmt: skip


def main() -> int:
    """Run the sections that were asked for; 1 if anything fell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--count", type=int, default=1000, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    good = True
    for name in given.sections or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["SPEECHSSL_KEY"] = f"{folder}/key.pem"
            good &= SECTIONS[name](Path(folder), given.count, given.seed)
    print("nothing fell" if good else "SOMETHING FELL: see the lines above")
    return not good


if __name__ == "__main__":
    raise SystemExit(main())
