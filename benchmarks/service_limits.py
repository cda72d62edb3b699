"""What a stranger, and what hours of use, take of the service: memory, sessions, open files, disk.

    python benchmarks/service_limits.py [--calls 600]
    python benchmarks/service_limits.py --hours 4                   or 0.2, where nobody has the time
    python benchmarks/service_limits.py --hours 2.3 --rate 1.75     as many calls as in four hours

The first starts a service with a login, sends ten bodies of 150 MB without one, makes calls without a session as curl
does, then again without fetching the answers, and uses and kills sessions. The others make one call a second, or RATE,
of all kinds, and print a line every ten minutes, or twelve in all; sessions that are not used are kept for as long.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import app_load
import httpx

import speechssl

MEGABYTE = 1 << 20
BODIES, SIZE = 10, 150  # of a stranger; megabytes each
LOADING = 503  # the status of answers until the page is there
SETTLED = 1.0  # seconds that the service has to take back what it can


class Service:
    """A service as a process of its own, with a login."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.process, self.address = app_load.launched(folder, "--auth", "ada:secret", *options)
        self.api = f"{self.address}/gradio_api"
        self.client = httpx.Client(timeout=600)
        given = {"username": "ada", "password": "secret"}
        # the port answers before the page is loaded
        while (answer := self.client.post(f"{self.address}/login", data=given)).status_code == LOADING:
            time.sleep(0.2)
        answer.raise_for_status()

    def file(self, path: Path) -> dict[str, Any]:
        """Upload a recording."""
        answer = self.client.post(f"{self.api}/upload", files={"files": (path.name, path.read_bytes())})
        return {"path": answer.raise_for_status().json()[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, *values: Any, fetch: bool = True) -> None:
        """Call an endpoint as curl does."""
        answer = self.client.post(f"{self.api}/call/{name}", json={"data": list(values)})
        event = answer.raise_for_status().json()["event_id"]
        if fetch:
            self.client.get(f"{self.api}/call/{name}/{event}").raise_for_status()

    def memory(self) -> int:
        """Megabytes in memory now."""
        time.sleep(SETTLED)
        return app_load.memory(self.process.pid, "VmRSS")

    def disk(self) -> float:
        """Megabytes of all files of sessions."""
        files = [path for path in self.folder.rglob("speechssl-app-*/**/*") if path.is_file()]
        return sum(path.stat().st_size for path in files) / MEGABYTE

    def sessions(self) -> int:
        return int(self.client.get(f"{self.address}/health").json()["sessions"])

    def end(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def body(megabytes: int) -> Iterator[bytes]:
    for _ in range(megabytes):
        yield b"a" * MEGABYTE


def stranger(service: Service) -> int:
    """Send large bodies without a login; return the megabytes that the service grew by."""
    before = service.memory()
    for number in range(BODIES):
        path = ("run/voices", "upload", "queue/join")[number % 3]
        headers = {"content-type": "multipart/form-data; boundary=x" if path == "upload" else "application/json"}
        try:
            httpx.post(f"{service.api}/{path}", content=body(SIZE), headers=headers, timeout=600)
        except httpx.TransportError:
            continue  # refused before all was sent
    return service.memory() - before


def limits(calls: int) -> None:
    """Print what the first command of this script measures."""
    with tempfile.TemporaryDirectory() as name:
        service = Service(Path(name))
        recording = speechssl.clip("eric", "sentence").path
        # loads the models, which the service begins to load by itself
        service.call("units", service.file(recording), "tiny/100", True)
        service.call("verify", [service.file(recording)], service.file(recording))
        print(f"{BODIES} bodies of {SIZE} MB without a login: {stranger(service):+d} MB of memory")
        for fetch in (True, False):
            before = service.memory()
            for _ in range(calls):
                service.call("voices", fetch=fetch)
            what = "" if fetch else " whose answers nobody fetches"
            print(f"{calls} calls without a session{what}: {before} to {service.memory()} MB of memory, "
                  f"{service.sessions()} sessions kept")  # fmt: skip
        service.end()
    with tempfile.TemporaryDirectory() as name:
        for turn in range(3):
            service = Service(Path(name))
            if turn == 0:
                print(f"disk at the start: {service.disk():.1f} MB")
            if turn == 2:
                print(f"disk at the next start, the service before it killed: {service.disk():.1f} MB")
            for _ in range(25 if turn < 2 else 0):
                service.call("units", service.file(recording), "tiny/100", True)
            if turn == 1:
                print(f"disk after 50 sessions: {service.disk():.1f} MB")
                service.process.kill()
                service.process.wait()
            else:
                service.end()


def long(hours: float, rate: float) -> None:
    """Make so many calls a second, and print memory, sessions and open files now and then."""
    every = min(600.0, 3600 * hours / 12)
    with tempfile.TemporaryDirectory() as name:
        service = Service(Path(name), "--keep-minutes", str(max(1, round(every / 60))))
        draw, begun, said, count = random.Random(0), time.monotonic(), -every, 0
        recording = speechssl.clip("eric", "sentence").path
        while (spent := time.monotonic() - begun) < 3600 * hours:
            kind = draw.randrange(20)
            if kind == 0:
                service.call("units", service.file(recording), "tiny/100", True)
            elif kind == 1:
                service.call("speak_units", "1 2 3 4 5 6 7 8", "eric", "tiny/100")
            elif kind == 2:
                service.client.get(service.address)
            else:
                service.call(draw.choice(["voices", "speakers"]), fetch=kind < 15)
            count += 1
            if spent - said >= every:
                said = spent
                files = len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))
                print(f"{spent / 60:4.0f} min, {count} calls: {service.memory()} MB, {service.sessions()} sessions, "
                      f"{files} open files, {service.disk():.1f} MB of disk", flush=True)  # fmt: skip
            time.sleep(max(0.0, begun + count / rate - time.monotonic()))
        service.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--hours", type=float, help="make a call a second for so long instead")
    parser.add_argument("--rate", type=float, default=1.0, help="calls a second, with --hours")
    args = parser.parse_args()
    if args.hours:
        long(args.hours, args.rate)
    else:
        limits(args.calls)


if __name__ == "__main__":
    main()
