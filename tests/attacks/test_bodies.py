"""Bodies that are too large: refused while they arrive, and before anything is read of a stranger's."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from attack_service import PATIENCE

MEGABYTE = 1 << 20
SENT = 60  # megabytes that a stranger tries to send


def sent(address: str, head: str, *, chunked: bool) -> tuple[float, str]:
    """Send a body until the service answers; return the megabytes that went out, and the first line of the answer."""
    place = urlsplit(address)
    body = b"a" * MEGABYTE
    part = b"%x\r\n%s\r\n" % (len(body), body) if chunked else body
    with socket.create_connection((place.hostname, place.port), timeout=PATIENCE) as connection:
        length = "transfer-encoding: chunked" if chunked else f"content-length: {SENT * MEGABYTE}"
        connection.sendall(f"{head}\r\nhost: {place.netloc}\r\n{length}\r\n\r\n".encode())
        gone = 0
        connection.settimeout(2)
        try:
            while gone < SENT:
                gone += 1
                connection.sendall(part)
        except OSError:  # the service reads no more, or has closed the connection
            pass
        connection.settimeout(PATIENCE)
        return gone, connection.recv(4096).decode().splitlines()[0]


JSON = "POST /gradio_api/run/voices HTTP/1.1\r\ncontent-type: application/json"
FORM = "POST /gradio_api/upload HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=x"


def test_a_stranger_is_asked_to_sign_in_before_the_body_is_read(guarded: str) -> None:
    for head in (JSON, FORM, "PUT / HTTP/1.1", "POST /gradio_api/queue/join HTTP/1.1"):
        _, line = sent(guarded, head, chunked=False)
        assert " 401 " in line or " 404 " in line


def test_a_large_body_of_json_is_refused_while_it_arrives(address: str) -> None:
    for chunked in (True, False):
        _, line = sent(address, JSON, chunked=chunked)
        assert " 413 " in line
    _, line = sent(address, "POST /login HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded", chunked=True)
    assert " 413 " in line


def test_fields_of_a_form_that_are_no_files_are_not_kept(open_service: Any) -> None:
    answer = open_service.client.post(f"{open_service.address}/gradio_api/upload", data={"a": "b"}, files={"c": b"d"})
    assert answer.status_code == 400


def test_bodies_that_are_no_requests(open_service: Any) -> None:
    """Nested a hundred thousand deep, half a character, a list, nothing."""
    for body in (
        b"[" * 100_000,
        b'{"data": ["\\ud800"]}',
        b"[]",
        b"",
        b'{"data": 5}',
        b"\xff\xfe",
    ):
        answer = open_service.client.post(f"{open_service.address}/gradio_api/run/speakers", content=body)
        assert 400 <= answer.status_code < 600
        assert "Traceback" not in answer.text
        assert "needed" in answer.text or "lone surrogate" in answer.text
