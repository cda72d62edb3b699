"""Published files: only plain tensors, only with the pinned checksum, and a sentence when the network is away."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from speechssl import checkpoints
from speechssl.errors import CheckpointError

# --------------------------------------------------------------------------------------------- pickles and their code


class Bomb:
    """Unpickled, it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("how", ["pickle", "torch", "torch-legacy"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_code_in_a_pickle_never_runs(tmp_path: Path, how: str, suffix: str) -> None:
    trace, path = tmp_path / "it-ran", tmp_path / f"model{suffix}"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"generator": Bomb(trace)}))
    else:
        torch.save({"generator": Bomb(trace)}, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(CheckpointError, match=r"damaged or holds pickled code, which is never run"):
        checkpoints.load_pickle_tensors(path)
    with pytest.raises(CheckpointError, match=r"is a (zip archive|Python pickle)"):
        checkpoints.load(path, kind="encoder")
    with pytest.raises(CheckpointError, match=r"is a (zip archive|Python pickle)"):
        checkpoints.peek(path)
    assert not trace.exists()
    # the trap itself works: opened carelessly, the file appears; PyTorch 2.13 goes by the suffix, if it is told one
    with path.open("rb") as file:
        torch.load(file, weights_only=False) if how != "pickle" else pickle.load(file)  # noqa: S301
    assert trace.exists()


def test_a_plain_pytorch_file_is_read(tmp_path: Path) -> None:
    content = {"model": {"w": torch.arange(3.0)}, "cfg": {"layers": [1, 2], "name": "x", "drop": 0.1, "none": None}}
    torch.save(content, tmp_path / "a.pt")
    read = checkpoints.load_pickle_tensors(tmp_path / "a.pt")
    assert torch.equal(read["model"]["w"], content["model"]["w"])
    assert read["cfg"] == content["cfg"]


def test_a_truncated_pytorch_file_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(100.0)}, tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "a.pt").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"a\.pt is not a PyTorch file"):
            checkpoints.load_pickle_tensors(tmp_path / "a.pt")


# ------------------------------------------------------------------------------------------------------------ fetching

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, or goes wrong in the way the path says."""

    asked: list[str]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        if self.path == "/absent":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/cut" else CONTENT)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("SPEECHSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SPEECHSSL_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def fetch(url: str, sha256: str | None = DIGEST, **rest: Any) -> Path:
    return checkpoints.fetch(url, sha256=sha256, filename="model.pt", licence="MIT", **rest)


def cached(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "cache")) if (tmp_path / "cache").exists() else []


@pytest.mark.parametrize("path", ["/model.pt", "/unsized"])
def test_a_file_is_fetched_once(server: str, tmp_path: Path, path: str) -> None:
    got = fetch(server + path, size=len(CONTENT))
    assert got == tmp_path / "cache" / "model.pt"
    assert got.read_bytes() == CONTENT
    assert fetch(server + path, DIGEST.upper()) == got
    assert Handler.asked == [path]
    assert cached(tmp_path) == ["model.pt"]


def test_another_checksum_is_refused_and_nothing_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"SHA-256 {DIGEST}, but {'0' * 64} is pinned"):
        fetch(server + "/model.pt", "0" * 64)
    assert cached(tmp_path) == []


def test_a_changed_file_in_the_cache_is_refused(server: str) -> None:
    path = fetch(server + "/model.pt")
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(CheckpointError, match="delete the file and fetch it again"):
        fetch(server + "/model.pt")


def test_without_a_checksum_nothing_is_fetched(server: str) -> None:
    with pytest.raises(CheckpointError, match="no checksum is known"):
        fetch(server + "/model.pt", None)
    with pytest.raises(CheckpointError, match="not 64 hexadecimal digits"):
        fetch(server + "/model.pt", "abc")
    assert Handler.asked == []


@pytest.mark.parametrize("path", ["/absent", "/cut"])
def test_a_failed_download_says_what_to_do_by_hand(server: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(CheckpointError) as error:
        fetch(server + path, size=1_280_000)
    for word in (server + path, "1 MB", "MIT", str(tmp_path / "cache" / "model.pt"), DIGEST, "by hand"):
        assert word in str(error.value)
    assert cached(tmp_path) == []


def test_offline_says_what_to_do_by_hand_and_takes_it(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPEECHSSL_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"SPEECHSSL_OFFLINE is set.*by hand"):
        fetch(server + "/model.pt")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "model.pt").write_bytes(CONTENT)
    assert fetch(server + "/model.pt").read_bytes() == CONTENT
    assert Handler.asked == []


def test_an_unreachable_server_is_told(tmp_path: Path, server: str) -> None:
    with pytest.raises(CheckpointError, match=r"cannot download .*by hand"):
        fetch("http://127.0.0.1:9/model.pt")
    with pytest.raises(CheckpointError, match="only http and https"):
        fetch((tmp_path / "x").as_uri())


def test_a_disk_too_small_is_told_before_the_download(server: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not enough for"):
        fetch(server + "/model.pt", size=10**18)
    assert Handler.asked == []
    assert cached(tmp_path) == []


def test_a_disk_that_fills_up_while_fetching_leaves_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match="No space left"):
        fetch(server + "/model.pt")
    assert cached(tmp_path) == []


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEECHSSL_CACHE", str(tmp_path))
    assert checkpoints.cache_dir() == tmp_path
    monkeypatch.delenv("SPEECHSSL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert checkpoints.cache_dir() == tmp_path / "xdg" / "speechssl"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert checkpoints.cache_dir().parts[-3:] == ("Library", "Caches", "speechssl")


# ----------------------------------------------------------------------------------------------------- the hub


def test_a_hub_name_without_a_network_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("SPEECHSSL_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    away = checkpoints.hub_is_away("somebody/model")
    assert away is not None
    assert "no connection to http://127.0.0.1:9" in away


def test_offline_is_passed_on_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHSSL_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert checkpoints.hub_is_away("somebody/model") == "SPEECHSSL_OFFLINE is set"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
