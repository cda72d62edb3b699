"""A service to attack, values of wrong kinds for every argument of every endpoint, and what it must never answer.

``python tests/attack_service.py --number 1000`` starts a service, sends that many, and prints the counts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import socket
import string
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 240  # seconds: a busy machine takes minutes for what takes seconds
# words of Python and of its libraries: an error that was not foreseen
RAW = re.compile(
    r"NoneType|object has no|Traceback|Error -?\d|<class|<[a-z_.]+ object|unexpected keyword|positional argument|"
    r"not iterable|invalid literal|codec can't|unsupported operand|KeyError|list index|not subscriptable|"
    r"could not convert|must be str|expected str|pydantic|zipfile|failed on what was given|Internal Server"
)
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**30, [], [None], [[]], {}, {"path": ""}, {"path": 5}, {"meta": {}}, "", " ",
    "x", "\x00", "a\u202eb", "../..", "/etc/passwd", "-" * 5000, "=1+1", "nan", "<b>", "1 2 3", "eric", "eric=", ":",
    "eric=nan", "eric=1e400", "a=b=c", ",,,", "who: what", "\u200b:\u200b",
)  # fmt: skip


@dataclass(frozen=True)
class Service:
    """A running service: its address, its objects, and a client that may have signed in."""

    address: str
    state: Any
    client: Any

    def call(self, name: str, *values: Any, client: Any = None, **more: Any) -> Any:
        """Call an endpoint directly, without the queue of Gradio."""
        given = {"data": list(values), **more}
        return (client or self.client).post(f"{self.address}/gradio_api/run/{name}", json=given)

    def said(self, name: str, *values: Any) -> str:
        """What an endpoint answers to values that it refuses."""
        answer = self.call(name, *values)
        assert answer.status_code >= 400, answer.text
        found = answer.json()
        return str(found.get("error") or found.get("detail"))

    def upload(self, name: str, content: bytes, client: Any = None) -> dict[str, Any]:
        """Upload a file and return it as an argument of a call."""
        answer = (client or self.client).post(f"{self.address}/gradio_api/upload", files={"files": (name, content)})
        answer.raise_for_status()
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


@contextlib.contextmanager
def serving(folder: Path, root: Path, **options: Any) -> Iterator[Service]:
    """The service on a free port; without watermark and consent."""
    import httpx
    import uvicorn

    from speechssl.app import service
    from speechssl.app.state import Settings, State

    settings = Settings(voices=folder / "voices", speakers=folder / "s.sqlite", watermark=False, consent=False,
                        megabytes=8, kept_megabytes=12, source_seconds=60.0, reference_seconds=60.0)  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = State(settings, folder=root)
    application = service.make(state, **options)
    config = uvicorn.Config(application, host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    with httpx.Client(timeout=PATIENCE) as client:
        yield Service(f"http://127.0.0.1:{port}", state, client)
    server.should_exit = True
    thread.join(10)


def valid(service: Service) -> dict[str, list[Any]]:
    """A value that it takes for every argument of every endpoint: short recordings, and defaults."""
    from speechssl import audio
    from speechssl.signals import Waveform
    from speechssl.voices import clips

    whole = audio.read(clips.clip("eric", "sentence").path)
    with tempfile.TemporaryDirectory() as folder:
        short = Waveform(whole.samples[: 2 * whole.sample_rate].clone(), whole.sample_rate)
        audio.write(Path(folder) / "a.flac", short)
        content = (Path(folder) / "a.flac").read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("a/one.flac", content)
    file, archive = service.upload("a.flac", content), service.upload("a.zip", packed.getvalue())
    target = [None, "eric", ""]
    given = {
        "convert": [file, *target], "convert_stream": [file, *target], "batch": [archive, *target],
        "say": ["Good morning.", *target], "verify": [[file], file], "enrol": ["Eric", [file]], "identify": [file],
        "calibrate": [archive], "units": [file], "speak_units": ["1 2 3", "eric"], "add_voice": ["eric2", [file], ""],
        "import_voice": [file, ""], "report": [[file]], "speakers": [""], "voices": [], "remove_voice": ["nobody", ""],
        "rename_voice": ["nobody", "x"], "export_voice": ["nobody"],
        "describe_voice": ["nobody", "x", "a, b", "{}"], "sample_voice": ["eric"],
    }  # fmt: skip
    told = service.client.get(f"{service.address}/gradio_api/info").json()["named_endpoints"]
    for name, facts in told.items():
        rest = facts["parameters"][len(given[name.lstrip("/")]) :]
        given[name.lstrip("/")] += [one["parameter_default"] for one in rest]
    return given


def wrong(good: dict[str, list[Any]], number: int, seed: int) -> Iterator[tuple[str, list[Any]]]:
    """Calls with one or two arguments drawn from odd values and random texts; of a third of the calls, all of them."""
    draw = random.Random(seed)
    names = sorted(good)
    for count in range(number):
        name = names[count % len(names)]
        values = list(good[name])
        places = range(len(values))
        chosen = places if draw.random() < 1 / 3 else draw.sample(places, min(len(places), draw.randint(1, 2)))
        for place in chosen:
            values[place] = draw.choice(ODD) if draw.random() < 0.7 else _random(draw)
        yield name, values[: draw.randint(0, len(values) + 1)] if draw.random() < 0.1 else values


def _random(draw: random.Random) -> Any:
    text = "".join(draw.choice(string.printable + "äß語\u0301\u200d😀") for _ in range(draw.randint(0, 30)))
    return draw.choice([text, draw.uniform(-1e6, 1e6), draw.randint(-(2**40), 2**40), [text], {"path": text}])


def count(service: Service, number: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Send the calls; return how many were answered well, refused in words, and raw, and the raw ones."""
    counts: Counter[str] = Counter()
    raw = []
    for name, values in wrong(valid(service), number, seed):
        answer = service.call(name, *values)
        text = answer.text
        kind = "answered" if answer.status_code == 200 else "refused in words"
        # of what an endpoint refuses, its words; of what it answers, nothing is an error
        if answer.status_code != 200 and (RAW.search(text) or not re.search(r'"(error|detail)":"\w', text)):
            kind = "raw"
            raw.append(f"{name} {str(values)[:200]}: {text[:300]}")
        counts[kind] += 1
    return counts, raw


def main() -> None:
    """Start a service and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1000, help="Calls.")
    parser.add_argument("--seed", type=int, default=0, help="Of the values.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SPEECHSSL_KEY", f"{folder}/key.pem")
        with serving(Path(folder), Path(folder) / "work") as service:
            counts, raw = count(service, asked.number, asked.seed)
    for one in raw:
        print(f"  {one}")
    kinds = ("answered", "refused in words", "raw")
    print(f"{asked.number} calls, " + ", ".join(f"{counts[kind]} {kind}" for kind in kinds))
    raise SystemExit(bool(raw))


if __name__ == "__main__":
    main()
