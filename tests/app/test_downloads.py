"""Downloads of models: bytes on the page, an end when a person cancels, one line where there is no connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from speechssl import checkpoints
from speechssl.app import jobs
from speechssl.app.jobs import Job, Jobs
from speechssl.app.refusals import Stopped
from speechssl.app.sessions import Session
from speechssl.checkpoints import published

constants = pytest.importorskip("huggingface_hub.constants")
CONTENT = bytes(range(256)) * 4096  # a megabyte


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks of it."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        for name, value in (("ETag", '"one"'), ("X-Repo-Commit", "0" * 40), ("Content-Length", str(len(CONTENT)))):
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        begin = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        self.wfile.write(CONTENT[begin:])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 18)
    monkeypatch.setattr(published, "shown", jobs.downloading)
    yield
    server.shutdown()
    server.server_close()


def fetch(job: Job) -> Path:
    return checkpoints.hub_download("somebody/model", "model.safetensors")


@pytest.mark.usefixtures("hub")
def test_a_download_tells_its_bytes(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    path = Jobs(60.0).run(Session(tmp_path), fetch, lambda share, text: told.append((share, text)))
    assert path.read_bytes() == CONTENT
    assert told == [(share, f"downloading model.safetensors, {share * 1.048576:.0f} of 1 MB")
                    for share in (0.25, 0.5, 0.75, 1.0)]  # fmt: skip


@pytest.mark.usefixtures("hub")
def test_a_cancelled_download_ends_and_goes_on_the_next_time(tmp_path: Path) -> None:
    session, told = Session(tmp_path), []

    def tell(share: float, text: str) -> None:
        told.append(share)
        if len(told) == 2:
            session.stop()

    # what several jobs share is not interrupted: only the bytes that come tell that nobody wants them
    with pytest.raises(Stopped, match="cancelled"):
        Jobs(60.0).run(session, lambda job: shielded(job), tell)
    assert told == [0.25, 0.5]
    assert not list((tmp_path / "cache").rglob("model.safetensors"))
    again: list[float] = []
    time.sleep(0.01)
    path = Jobs(60.0).run(session, fetch, lambda share, text: again.append(share))
    assert path.read_bytes() == CONTENT
    assert again[-1] == 1.0


def shielded(job: Job) -> Path:
    with jobs.shielded():
        return fetch(job)


def test_a_job_that_downloads_nothing_and_a_thread_without_a_job_are_left_alone() -> None:
    with jobs.downloading("model", None) as advance:
        advance(100)
