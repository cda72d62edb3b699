"""The WebSocket of live conversion: who may open it, and what is no sound and no message."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from socket import SHUT_RDWR
from typing import Any

import pytest
from browsing import wait_until

client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")
PATIENCE = 120  # seconds
FIRST = json.dumps({"voice": "eric", "realtime": False})
Opened = Callable[..., Any]


def opened(address: str, path: str = "/live", **headers: str) -> Any:
    """A connection; raises if it is refused."""
    return client.connect(address.replace("http", "ws") + path, compression=None, additional_headers=headers)


def refused(address: str, path: str = "/live", **headers: str) -> tuple[int, str]:
    """Status and text of a connection that is not accepted."""
    with pytest.raises(exceptions.InvalidStatus) as found:
        opened(address, path, **headers)
    return found.value.response.status_code, found.value.response.body.decode()


def end(socket: Any, *messages: str | bytes) -> tuple[int, dict[str, Any]]:
    """Send these after "ready", if the first is a message that begins; the code of the end and the last message."""
    last: dict[str, Any] = {}
    waiting = list(messages)
    socket.send(waiting.pop(0))
    try:
        while True:
            got = socket.recv(PATIENCE)
            if isinstance(got, str):
                last = json.loads(got)
                if last["type"] == "ready":
                    for one in waiting:
                        socket.send(one)
    except exceptions.ConnectionClosed as closed:
        return int(closed.rcvd.code), last


def test_pages_of_others_and_strangers_get_no_connection(address: str, guarded: str) -> None:
    assert refused(address, Origin="http://evil.example")[0] == 403
    assert refused(address, Origin="null")[0] == 403
    assert refused(address, Host="evil.example")[0] == 400
    status, text = refused(guarded)
    assert status == 401
    assert "Sign in first" in text
    assert refused(guarded, Cookie="access-token-unsecure-x=guessed")[0] == 401
    # the page itself, and programs without an origin
    opened(address, Origin=address).close()
    opened(address).close()


def test_no_other_address_takes_a_websocket(address: str) -> None:
    for path in ("/", "/live/", "/live/x", "/gradio_api/queue/join", "/queue/join", "/assets/live"):
        assert refused(address, path)[0] == 404, path


def test_a_login_opens_its_own_voices_alone(guarded_service: tuple[Any, Any, Any]) -> None:
    service, ada, _ = guarded_service
    cookie = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    with opened(service.address, Cookie=cookie) as socket:
        code, last = end(socket, json.dumps({"voice": "../users/eve"}))
    assert code == 1008
    assert last["field"] == "voice"
    assert service.state.folder.name not in last["text"]


@pytest.mark.parametrize(
    ("first", "code", "says"),
    [
        pytest.param(b"\x00" * 64, 1007, "JSON object with the voice needed", id="sound"),
        ("{", 1007, "no JSON"),
        ("[1, 2]", 1007, "list of 2 values"),
        ("[" * 8000, 1007, "no JSON"),
        ('{"voice": "' + "x" * 9000 + '"}', 1009, "8192"),
        ('{"voice": 5}', 1008, "voice"),
        ('{"voice": ["eric"]}', 1008, "a list of 1 values"),
        ('{"voice": ""}', 1008, "Whose voice?"),
        ('{"voice": "nobody"}', 1008, "nobody"),
        ('{"voice": "eric=nan"}', 1008, "voice"),
        ('{"voice": "eric", "latency": "soon"}', 1008, "a number from 88 to 528 needed"),
        ('{"voice": "eric", "latency": 1e9}', 1008, "a number from 88 to 528 needed"),
        ('{"voice": "eric", "sample_rate": 44100.5}', 1008, "a whole number from 8000"),
        ('{"voice": "eric", "sample_rate": true}', 1008, "sample_rate"),
        ('{"voice": "eric", "sample_format": "mp3"}', 1008, "float32 or int16 needed"),
        ('{"voice": "eric", "record": "yes"}', 1008, "true or false needed"),
        ('{"voice": "eric", "converter": "selection"}', 1008, "variance can be used live"),
        ('{"voice": "eric", "loudness": "-23"}', 1008, "contour or level"),
        ('{"voice": "eric", "session_hash": "a\\u0000b"}', 1008, "session_hash"),
        ('{"voice": "eric", "speed": 2}', 1008, "no such field"),
        ('{"voice": "eric", "consent": "me"}', 1008, "WHO: FOR WHAT"),
    ],
)  # fmt: skip
def test_a_first_message_of_a_wrong_kind_is_refused_in_words(
    address: str, first: str | bytes, code: int, says: str
) -> None:
    with opened(address) as socket:
        found, last = end(socket, first)
    assert (found, last["type"]) == (code, "error")
    assert says in last["text"]


@pytest.mark.parametrize(
    ("block", "code", "says"),
    [
        (b"\x00" * 7, 1008, "a multiple of 4"),
        (b"\x00\x00\xc0\x7f" * 100, 1008, "no numbers"),
        (b"\x00\x00\x80\x7f" * 100, 1008, "no numbers"),
        (b"\x00" * 64_004, 1008, "at most 64000"),
        (b"\x00" * 600_000, 1009, "a second of sound at most"),
        ("{}}", 1007, "no JSON"),
    ],
    ids=["half a sample", "NaN", "infinite", "too long", "far too long", "no JSON"],
)
def test_garbage_while_somebody_speaks_ends_it_in_words(
    open_service: Any, address: str, block: str | bytes, code: int, says: str
) -> None:
    with opened(address) as socket:
        found, last = end(socket, FIRST, block)
    assert (found, last["type"]) == (code, "error")
    assert says in last["text"]
    # the place is free again
    with opened(address) as socket:
        found, last = end(socket, FIRST, json.dumps({"end": True}))
    assert (found, last["type"]) == (1000, "ended")


def test_loud_and_empty_blocks_are_sound(address: str) -> None:
    import numpy as np

    with opened(address) as socket:
        found, last = end(socket, FIRST, b"", np.full(1000, 3e38, "<f4").tobytes(), b"", json.dumps({"end": True}))
    assert (found, last["type"]) == (1000, "ended")


def test_one_client_cannot_fill_the_line(open_service: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    live, sessions = open_service.state.live, open_service.state.sessions
    monkeypatch.setattr(live, "waiting", 4)
    with contextlib.ExitStack() as others:
        for _ in range(live.parallel):
            others.enter_context(live.start(sessions.get(None)))
        first = others.enter_context(opened(address))
        first.send(json.dumps({"voice": "eric", "session_hash": "one"}))
        assert json.loads(first.recv(PATIENCE))["type"] == "waiting"
        with opened(address) as second:
            code, last = end(second, json.dumps({"voice": "eric", "session_hash": "one"}))
        assert code == 1013
        assert "the queue is full" in last["text"]


def test_a_client_that_takes_nothing_loses_its_place(
    open_service: Any, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechssl.app import live as endpoint
    from speechssl.conversion.live import LiveConverter

    monkeypatch.setattr(endpoint, "SENDING", 0.5)
    socket = opened(address)
    socket.send(json.dumps({"voice": "eric", "realtime": False}))
    while json.loads(socket.recv(PATIENCE))["type"] != "ready":
        pass
    monkeypatch.setattr(LiveConverter, "push", lambda self, block: block)

    def flood() -> None:
        with contextlib.suppress(exceptions.ConnectionClosed, OSError):
            for _ in range(5000):
                socket.send(b"\0" * 64_000)

    # its system takes some megabytes, and then no more
    sending = threading.Thread(target=flood, daemon=True)
    sending.start()
    wait_until(lambda: not open_service.state.live.running)
    socket.socket.shutdown(SHUT_RDWR)
    sending.join(PATIENCE)
    assert not sending.is_alive()
