"""The WebSocket ``/live``: somebody speaks and is heard in another voice. Sound is binary, everything else JSON.

``docs/reference/http.md`` describes the messages. Each connection has a thread, which waits in line, converts and
answers; its coroutine only takes what comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from starlette.websockets import WebSocket

from speechssl.app import fields, schema
from speechssl.app.endpoints import ATTEST, attested
from speechssl.app.handlers import targets
from speechssl.app.handlers.live import Asked, Speaker
from speechssl.app.refusals import Busy, Refused, Stopped, in_words
from speechssl.app.sessions import Session
from speechssl.app.state import MOST_MESSAGE, State
from speechssl.app.visitors import LONGEST_KEY, Visitor, Visitors
from speechssl.conversion.options import ConversionOptions
from speechssl.encoders.precision import one_thread
from speechssl.errors import InputError, SpeechSSLError

SILENT = 10.0  # seconds without a message after which a client is taken to be gone
SENDING = 10.0  # seconds that a client has to take what it is sent
PENDING = 20  # messages that may be on their way to the network
TOLD = 0.5  # seconds between two messages on how it goes
MOST_TEXT = 8192  # characters of a message
MOST_TEXTS = 10  # messages that may wait
LEAST_BLOCK = 64  # bytes that a block counts for at least, so that empty ones cannot pile up
LATE = 1.0  # seconds of sound that may wait
OPTIONS = ("k", "converter", "pitch", "loudness")
FINE, GARBAGE, REFUSED, LARGE, CLOSING, FULL = 1000, 1007, 1008, 1009, 1012, 1013  # codes of RFC 6455 and IANA
Message = dict[str, Any]


def arguments() -> dict[str, schema.Argument]:
    """The fields of the first message."""
    return {
        "voice": schema.text(
            "name of a stored or bundled voice; several with weights: ada=0.7, eric=0.3", longest=1000
        ),
        "consent": schema.text(ATTEST, longest=500),
        "sample_rate": schema.number("Hz, of the sound in both directions", 16_000, 8000, 96_000, whole=True),
        "sample_format": schema.text("float32 or int16, little-endian, in both directions", "float32"),
        "latency": schema.number("delay of the conversion in ms", 220, 88, 528),
        "record": schema.flag("whether a recording is kept, with a receipt", False),
        "realtime": schema.flag("whether sound is left out that has waited for a second", True),
        "session_hash": schema.text("of the window or client that the recording belongs to", longest=LONGEST_KEY),
        **{one.name: one.for_client() for one in fields.OPTIONS if one.name in OPTIONS},
    }


class Gone(Exception):
    """The client went away."""


class Unusable(Exception):
    """A message that ends the connection.

    Args:
        code: of the end, of RFC 6455.
        text: what was got and what is needed.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Line:
    """Sends to a client, from a thread.

    Args:
        socket: of the client; made in its event loop.
    """

    def __init__(self, socket: WebSocket) -> None:
        self._socket, self._loop = socket, asyncio.get_running_loop()
        self._pending: deque[Future[None]] = deque()

    def send(self, message: bytes | Message) -> None:
        """Send sound or JSON; waits only for a client that is behind.

        Raises:
            Gone: the client does not take it.
        """
        is_sound = isinstance(message, bytes)
        self._do(self._socket.send_bytes(message) if is_sound else self._socket.send_text(json.dumps(message)))

    def close(self, code: int) -> None:
        """End the connection once all is sent.

        Raises:
            Gone: as ``send``.
        """
        self._do(self._socket.close(code), pending=0)

    def _do(self, work: Coroutine[Any, Any, None], pending: int = PENDING) -> None:
        try:
            self._pending.append(asyncio.run_coroutine_threadsafe(work, self._loop))
            while self._pending and (len(self._pending) > pending or self._pending[0].done()):
                self._pending.popleft().result(SENDING)
        except Exception as error:
            # each library has errors of its own for a connection that is lost
            raise Gone from error


class Inbox:
    """What a client sent and nobody took yet: sound, messages, and how many bytes of sound were left out between."""

    def __init__(self) -> None:
        self._items: deque[tuple[float, bytes] | int | Message | Exception] = deque()  # sound with when it came
        self._changed = threading.Condition()
        self._bytes = self._texts = 0  # that wait
        self._most, self._size, self._realtime, self._over = 0, 1, True, False
        self.left: Callable[[], None] = lambda: None  # called when the client is gone
        self.xruns = 0  # how often sound was left out

    def open(self, most: int, size: int, *, realtime: bool) -> None:
        """Take sound from now on; what came before is not wanted.

        Args:
            most: bytes that may wait.
            size: bytes of a sample.
            realtime: whether what has waited for ``LATE`` is left out.
        """
        with self._changed:
            self._most, self._size, self._realtime = most, size, realtime

    def get(self, seconds: float | None = None) -> bytes | int | Message | None:
        """What comes next, blocks that wait as one; None after so many seconds.

        Raises:
            Gone: the client went away.
            Unusable: a message that cannot be understood.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items, seconds)
            late = self._late()
            if late or not self._items:
                return late or None
            if isinstance(self._items[0], tuple):
                return self._joined()
            item = self._items.popleft()
            self._texts -= isinstance(item, dict)
        if isinstance(item, Exception):
            raise item
        assert not isinstance(item, tuple)
        return item

    def _joined(self) -> bytes:
        """The blocks that wait, as one; a block that is no sound comes last."""
        found, count = list[bytes](), 0
        while self._items and isinstance(first := self._items[0], tuple) and count % self._size == 0:
            if found and count + len(first[1]) > self._most:
                break
            self._items.popleft()
            self._bytes -= max(len(first[1]), LEAST_BLOCK)
            found.append(first[1])
            count += len(first[1])
        return b"".join(found)

    def _late(self) -> int:
        """Leave out what waits too long already, and say how many bytes."""
        old, left = time.monotonic() - LATE, 0
        while self._realtime and self._items and isinstance(first := self._items[0], tuple) and first[0] < old:
            self._items.popleft()
            self._bytes -= max(len(first[1]), LEAST_BLOCK)
            left += len(first[1])
        self.xruns += left > 0
        return left

    def close(self) -> None:
        """Take nothing more."""
        self._over = True

    async def listen(self, socket: WebSocket) -> None:
        """Take what comes until the connection is over."""
        coming = asyncio.ensure_future(socket.receive())
        silent = Unusable(REFUSED, f"nothing came for {SILENT:.0f} s; send sound, also where nobody speaks")
        begun = False
        try:
            while True:
                await asyncio.wait({coming}, timeout=SILENT)
                if not coming.done():
                    # who waits in line has nothing to say
                    if self._most or not begun:
                        self._put(silent)
                    continue
                message = coming.result()
                if message["type"] == "websocket.disconnect":
                    return
                try:
                    if not begun and message.get("bytes") is not None:
                        raise Unusable(GARBAGE, "got sound first; a JSON object with the voice needed")
                    begun = True
                    await self._take(message)
                except Unusable as error:
                    self._put(error)
                coming = asyncio.ensure_future(socket.receive())
        finally:
            coming.cancel()
            self.left()
            self._put(Gone())

    async def _take(self, message: Any) -> None:
        block, text = message.get("bytes"), message.get("text")
        if block is None:
            parsed = _parsed(text)
            if self._texts >= MOST_TEXTS:
                raise Unusable(REFUSED, f"{MOST_TEXTS} messages wait already; wait for the answers")
            self._put(parsed)
            return
        if len(block) > MOST_MESSAGE:
            raise Unusable(LARGE, f"got a block of {len(block)} bytes; a second of sound at most needed")
        size = max(len(block), LEAST_BLOCK)

        def fits() -> bool:
            return not self._bytes or self._bytes + size <= self._most

        while not (self._realtime or fits() or self._over):
            await asyncio.sleep(0.005)
        with self._changed:
            if not self._most or self._over:
                return
            if fits():
                self._bytes += size
                self._items.append((time.monotonic(), block))
            elif self._items and isinstance(self._items[-1], int):
                self._items[-1] += len(block)
            else:
                self.xruns += 1
                self._items.append(len(block))
            self._changed.notify_all()

    def _put(self, item: Message | Exception) -> None:
        with self._changed:
            if not self._over:
                self._texts += isinstance(item, dict)
                self._items.append(item)
                self._changed.notify_all()


class Live:
    """The endpoint.

    Args:
        state: models, voices, and who waits to speak.
        visitors: their sessions.
    """

    def __init__(self, state: State, visitors: Visitors) -> None:
        self.state, self.visitors = state, visitors
        self._arguments = arguments()
        self._model = schema.model("live", self._arguments)

    async def speak(self, socket: WebSocket) -> None:
        """Serve a connection to its end."""
        await socket.accept()
        line, inbox, over = Line(socket), Inbox(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                self._work(line, inbox, socket.scope["visitor"])
            finally:
                inbox.close()
                with contextlib.suppress(RuntimeError):  # the service is closed
                    loop.call_soon_threadsafe(over.set)

        threading.Thread(target=work, daemon=True).start()
        listening = asyncio.create_task(inbox.listen(socket))
        try:
            await over.wait()
            # a client that takes nothing does not answer the end of the connection either
            await asyncio.wait({listening}, timeout=SENDING)
        finally:
            listening.cancel()

    def _work(self, line: Line, inbox: Inbox, visitor: Visitor) -> None:
        """Do it all, and say how it ended."""
        try:
            code, last = self._served(line, inbox, visitor)
        except Gone:
            return
        except Unusable as error:
            code, last = error.code, self._said(InputError(str(error)))
        except Exception as error:
            closing = isinstance(error, Stopped) and self.state.live.draining
            code = CLOSING if closing else FULL if isinstance(error, Busy) else REFUSED
            last = self._said(in_words(error, "live conversion"))
        with contextlib.suppress(Gone):
            line.send(last)
            line.close(code)

    def _said(self, error: SpeechSSLError, kind: str = "error") -> Message:
        """An error, as clients get it."""
        field = getattr(error, "field", "")
        field = "voice" if field == "target" else field
        return {"type": kind, "field": field, "text": f"{field}: {self.state.sentence(error)}".removeprefix(": ")}

    def _served(self, line: Line, inbox: Inbox, visitor: Visitor) -> tuple[int, Message]:
        """Wait in line and convert; the code of the end, and the last message."""
        given = inbox.get()
        assert isinstance(given, dict)  # ``Inbox`` takes no sound yet
        values = self._read(given)
        window = self.visitors.session(visitor, visitor.key(values["session_hash"] or None))
        asked = self._asked(values, window)
        # it waits for itself: what else its window does goes on
        waiting = Session(window.folder, window.user, window.turn)
        inbox.left = waiting.leave

        def tell(_: float, text: str) -> None:
            line.send({"type": "waiting", "before": self.state.live.before(waiting), "text": text})

        with self.state.live.start(waiting, tell), self.state.jobs.beside(), one_thread():
            speaker = Speaker(*self.state.shared, window, asked)
            inbox.open(speaker.most_bytes, speaker.sample_bytes, realtime=asked.realtime)
            line.send(self._ready(speaker, asked))
            try:
                code, why = self._converse(line, inbox, speaker, asked, window)
            except Exception:
                speaker.finish()  # a recording is not lost with the connection
                raise
            return code, {"type": "ended", "text": why, **speaker.finish()}

    def _ready(self, speaker: Speaker, asked: Asked) -> Message:
        converter = speaker.converter
        return {
            "type": "ready", "sample_rate": asked.sample_rate, "sample_format": asked.sample_format,
            "latency": speaker.latency, "delay_ms": 1000 * converter.latency / converter.sample_rate,
            "block": speaker.block, "block_ms": 1000 * converter.hop / converter.sample_rate,
            "work_ms": round(1000 * speaker.slow_hop, 1),
        }  # fmt: skip

    def _converse(self, line: Line, inbox: Inbox, speaker: Speaker, asked: Asked, window: Session) -> tuple[int, str]:
        """Answer until it is over: the code of the end, and why."""
        begun, told, warned = time.monotonic(), 0.0, 0.0
        while True:
            now = time.monotonic()
            item = inbox.get(TOLD / 5)
            if isinstance(item, bytes):
                line.send(speaker.push(item))
            elif isinstance(item, int):
                line.send(speaker.skip(item))
            elif item is not None and item != {"end": True}:
                line.send(self._changed(speaker, item, window))
            over = None
            if item == {"end": True}:
                over = FINE, "ended"
            elif self.state.live.draining:
                over = CLOSING, "the service is closing; try again in a minute"
            elif now - begun > self.state.live.seconds:
                over = FINE, f"stopped after {self.state.live.seconds / 60:.0f} min, the limit here; start again"
            if over:
                line.send(speaker.rest())
                return over
            if now - told >= TOLD:
                told = window.used = now
                line.send(self._how(speaker, inbox, now - begun))
                if asked.realtime and speaker.load > 1 and now - warned > SILENT:
                    warned = now
                    self._warn(line, speaker)

    def _how(self, speaker: Speaker, inbox: Inbox, seconds: float) -> Message:
        heard, spoken = (round(one, 4) for one in speaker.level)
        return {"type": "state", "seconds": round(seconds, 1), "input": heard, "output": spoken,
                "clipped": speaker.converter.clipped, "load": round(speaker.load, 3), "xruns": inbox.xruns}  # fmt: skip

    def _warn(self, line: Line, speaker: Speaker) -> None:
        try:
            speaker.check_speed()
        except InputError as error:
            line.send({"type": "slow", "text": str(error)})

    def _changed(self, speaker: Speaker, given: Message, window: Session) -> Message:
        """The answer to a message while somebody speaks: another voice."""
        try:
            if unknown := set(given) - {"voice", "consent"}:
                raise Refused(min(unknown)[:80], 'no field of a change; voice and consent, or {"end": true}, needed')
            values = self._read(given)
            voice = targets.named(self.state.store, window.user, values["voice"])
            speaker.change(voice, attested(values["consent"]))
        except Exception as error:
            return self._said(in_words(error, "the change"), "refused")
        return {"type": "voice", "voice": values["voice"]}

    def _read(self, given: Message) -> Message:
        """Check the fields of a message.

        Raises:
            Refused: names the first that cannot be used.
        """
        if unknown := sorted(set(given) - set(self._arguments)):
            raise Refused(unknown[0][:80], f"no such field; {', '.join(self._arguments)} are known")
        return schema.read(self._model, self._arguments, {name: given.get(name) for name in self._arguments})

    def _asked(self, values: Message, window: Session) -> Asked:
        options = {one.name: one.parse(values[one.name]) for one in fields.OPTIONS if one.name in OPTIONS}
        return Asked(
            targets.named(self.state.store, window.user, values["voice"]),
            attested(values["consent"]),
            ConversionOptions(**options),
            int(values["sample_rate"]),
            values["sample_format"],
            values["latency"] / 1000,
            values["record"],
            values["realtime"],
        )


def _parsed(text: Any) -> Message:
    """A message of JSON.

    Raises:
        Unusable: it is none, or too long.
    """
    if len(text) > MOST_TEXT:
        raise Unusable(LARGE, f"got a message of {len(text)} characters; at most {MOST_TEXT} needed")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Unusable(GARBAGE, "got a text that is no JSON; a JSON object needed") from None
    if not isinstance(found, dict):
        raise Unusable(GARBAGE, f"got {schema.described(found)}; a JSON object needed")
    return found
