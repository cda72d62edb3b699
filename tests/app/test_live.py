"""The WebSocket /live: what goes in and comes out, who waits, what ends it, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from helpers import fetched

import speechssl
from speechssl import audio
from speechssl.app import live as endpoint
from speechssl.app.handlers import live as handler
from speechssl.app.state import State
from speechssl.conversion.live import LiveConverter
from speechssl.receipts import signing
from speechssl.voices import VoiceLibrary
from speechssl.voices import files as voices

client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")
EXAMPLE = Path(__file__).parents[2] / "examples" / "live_client.py"
PATIENCE = 60  # seconds: a busy machine takes its time
Samples: TypeAlias = np.ndarray[Any, Any]


class Speaking:
    """A client: its socket, and the messages that came since it was opened."""

    def __init__(self, address: str, **first: Any) -> None:
        self.socket = client.connect(address.replace("http", "ws") + "/live", compression=None, max_size=None)
        self.messages: list[dict[str, Any]] = []
        if first:
            self.say(**first)

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def until(self, kind: str) -> dict[str, Any]:
        """Read until a message of this kind; sound on the way is left out."""
        while True:
            got = self.socket.recv(PATIENCE)
            if isinstance(got, str):
                self.messages.append(json.loads(got))
                if self.messages[-1]["type"] == kind:
                    return self.messages[-1]
                assert self.messages[-1]["type"] != "error", self.messages[-1]

    def answer(self, block: bytes) -> bytes:
        """Send a block; the sound that answers it."""
        self.socket.send(block)
        while isinstance(got := self.socket.recv(PATIENCE), str):
            self.messages.append(json.loads(got))
            assert self.messages[-1]["type"] != "error", self.messages[-1]
        return got

    def spoken(self, samples: Samples) -> bytes:
        """Send blocks of half a second; the sound that answers them."""
        return b"".join(self.answer(block.tobytes()) for block in np.array_split(samples, max(1, len(samples) // 8000)))

    def rest(self) -> bytes:
        """End; the last sound."""
        self.say(end=True)
        while isinstance(got := self.socket.recv(PATIENCE), str):
            self.messages.append(json.loads(got))
        return got

    def code(self) -> int:
        """Of the end of the connection."""
        try:
            while True:
                got = self.socket.recv(PATIENCE)
                if isinstance(got, str):
                    self.messages.append(json.loads(got))
        except exceptions.ConnectionClosed as ended:
            return int(ended.rcvd.code)

    def __enter__(self) -> Speaking:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.fixture
def speak(address: str) -> Iterator[Any]:
    """``speak(voice="eric", ...)``: a client that is closed at the end."""
    opened: list[Speaking] = []

    def connect(**first: Any) -> Speaking:
        opened.append(Speaking(address, **first))
        return opened[-1]

    yield connect
    for one in opened:
        one.socket.close()


@pytest.fixture(scope="module")
def sentence() -> Samples:
    return audio.read_mono(speechssl.clip("ada", "sentence").path, 16_000).samples[:32_000].numpy()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work beside the tests does not make the processor too slow."""
    monkeypatch.setattr(handler, "hop_seconds", lambda _: (0.02, 0.03))


def idle(state: State) -> None:
    """Wait until nobody speaks."""
    end = time.monotonic() + PATIENCE
    while state.live.running:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_sound_is_that_of_the_library(speak: Any, sentence: Samples) -> None:
    one = speak(voice="eric", realtime=False)
    ready = one.until("ready")
    assert (ready["sample_rate"], ready["sample_format"], ready["latency"]) == (16_000, "float32", 3320)
    assert ready["delay_ms"] == 207.5
    blocks = np.array_split(sentence, [1, 700, 701, 9000, 9001, 20_000])
    made = b"".join([*(one.answer(block.tobytes()) for block in blocks), one.rest()])
    spoken = np.frombuffer(made, "<f4")
    system = speechssl.load_bundle("tiny", device="cpu")
    converter = LiveConverter(system, system.matching_set(speechssl.clip("eric")))
    wanted = torch.cat([converter.push(torch.from_numpy(sentence)), converter.flush()]).numpy()
    np.testing.assert_array_equal(spoken, wanted)
    ended = one.until("ended")
    assert ended["seconds"] == pytest.approx(len(spoken) / 16_000, abs=1e-3)
    assert ended["file"] is None
    assert one.code() == endpoint.FINE
    receipt = ended["receipt"]
    assert [voice["name"] for voice in receipt["voices"]] == ["eric"]
    assert receipt["output"]["samples"] == len(spoken)
    assert signing.Signer().sign(receipt) == receipt


@pytest.mark.parametrize(("rate", "kind"), [(44_100, "int16"), (48_000, "float32"), (8000, "int16")])
def test_other_rates_and_formats_say_the_same(speak: Any, sentence: Samples, rate: int, kind: str) -> None:
    given = audio.resample(speechssl.Waveform(torch.from_numpy(sentence), 16_000), rate).samples.numpy()
    plain = np.dtype(handler.FORMATS[kind])
    sent = (given * 32767).astype(plain) if kind == "int16" else given.astype(plain)
    one = speak(voice="eric", realtime=False, sample_rate=rate, sample_format=kind)
    latency = one.until("ready")["latency"]
    assert latency == pytest.approx(0.2075 * rate, abs=1)
    made = b"".join([*(one.answer(block.tobytes()) for block in np.array_split(sent, 40)), one.rest()])
    spoken = np.frombuffer(made, plain).astype(np.float32) / (32767 if kind == "int16" else 1)
    assert len(spoken) == len(given) + latency
    # the same frames of mel as from the library at 16 kHz
    system = speechssl.load_bundle("tiny", device="cpu")
    converter = LiveConverter(system, system.matching_set(speechssl.clip("eric")))
    wanted = torch.cat([converter.push(torch.from_numpy(sentence)), converter.flush()])
    back = audio.resample(speechssl.Waveform(torch.from_numpy(spoken), rate), 16_000).samples
    least = 0.99 if rate > 16_000 else 0.5  # at 8 kHz the model hears half of the band
    count = min(len(back), len(wanted))
    assert float(torch.corrcoef(torch.stack([back[:count], wanted[:count]]))[0, 1]) > least


def test_the_voice_changes_while_somebody_speaks(speak: Any, sentence: Samples) -> None:
    one = speak(voice="eric", realtime=False)
    one.until("ready")
    halves = np.array_split(sentence, 2)
    before = one.answer(halves[0].tobytes())
    one.say(voice="nobody")
    refused = one.until("refused")
    assert refused["field"] == "voice"
    assert "nobody" in refused["text"]
    one.say(voice="beth")
    assert one.until("voice")["voice"] == "beth"
    after = one.answer(halves[1].tobytes())
    one.rest()
    receipt = one.until("ended")["receipt"]
    assert [voice["name"] for voice in receipt["voices"]] == ["eric", "beth"]
    alone = speak(voice="eric", realtime=False)
    alone.until("ready")
    assert alone.answer(halves[0].tobytes()) == before
    assert alone.answer(halves[1].tobytes()) != after


def test_a_recording_is_kept_with_its_receipt_in_the_window(speak: Any, state: State, sentence: Samples) -> None:
    one = speak(voice="eric", realtime=False, record=True, session_hash="window of the recording")
    one.until("ready")
    spoken = b"".join([one.spoken(sentence), one.rest()])
    ended = one.until("ended")
    assert len(audio.read(ended["file"]).samples) == pytest.approx(len(spoken) / 4, abs=400)
    assert signing.check(ended["file"]).verdict == "genuine"
    (made,) = state.sessions.get("window of the recording").results
    assert str(made["path"]) == ended["file"]


def test_a_recording_is_not_lost_with_the_connection(speak: Any, state: State, sentence: Samples) -> None:
    one = speak(voice="eric", realtime=False, record=True, session_hash="window that closes")
    one.until("ready")
    one.spoken(sentence)
    one.socket.close()
    idle(state)
    (made,) = state.sessions.get("window that closes").results
    assert audio.info(made["path"]).seconds == pytest.approx(2.0, abs=0.01)


def stored(state: State, name: str, **changed: Any) -> VoiceLibrary:
    """The library with a voice of this name, whose recording nobody attested for."""
    library = state.store.library()
    voice = state.models.system("tiny").matching_set(speechssl.clip("cleo"), name=name)
    voices.save(library.path(name), dataclasses.replace(voice, **changed))
    return library


def test_a_voice_without_consent_needs_one(speak: Any, state: State) -> None:
    library = stored(state, "Zoe")
    try:
        one = speak(voice="Zoe")
        assert one.code() == endpoint.REFUSED
        assert one.messages[-1]["field"] == "consent"
        assert "Attest first" in one.messages[-1]["text"]
        one = speak(voice="Zoe", consent="Zoe Smith: a test")
        one.until("ready")
        one.rest()
        (kept,) = one.until("ended")["receipt"]["consent"]
        assert (kept["who"], kept["purpose"]) == ("Zoe Smith", "a test")
    finally:
        library.remove("Zoe")


def test_a_voice_of_another_model_is_refused(speak: Any, state: State) -> None:
    library = stored(state, "Yva", key_origin="wavlm-large/6", value_origin="wavlm-large/6")
    try:
        one = speak(voice="Yva", consent="Ada Smith: a test")
        assert one.code() == endpoint.REFUSED
        assert one.messages[-1]["field"] == "voice"
        assert "wavlm-large/6" in one.messages[-1]["text"]
    finally:
        library.remove("Yva")


def test_a_second_speaker_waits_and_is_told(speak: Any, state: State, sentence: Samples) -> None:
    assert state.live.parallel == state.settings.speakers_at_once
    first = [speak(voice="eric") for _ in range(state.live.parallel)]
    for one in first:
        one.until("ready")
    second = speak(voice="beth")
    assert second.until("waiting")["before"] == 0
    third = speak(voice="beth")
    assert third.until("waiting")["before"] == 1
    # a closed tab frees the place, also one that waits
    second.socket.close()
    first[0].socket.close()
    third.until("ready")
    assert third.answer(sentence[:1600].tobytes())


def test_a_processor_that_is_too_slow_says_what_would_do(speak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "hop_seconds", lambda _: (0.06, 0.07))
    one = speak(voice="eric", latency=120)
    assert one.code() == endpoint.REFUSED
    assert one.messages[-1]["field"] == "latency"
    assert "use a latency of 168 or more" in one.messages[-1]["text"]


def test_a_processor_that_becomes_too_slow_says_so(
    speak: Any, sentence: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = speak(voice="eric", latency=120)
    one.until("ready")
    real = LiveConverter.push

    def slow(self: LiveConverter, block: torch.Tensor) -> torch.Tensor:
        time.sleep(1.5 * len(block) / 16_000)
        return real(self, block)

    monkeypatch.setattr(LiveConverter, "push", slow)
    for block in np.array_split(sentence, 50):
        one.socket.send(block.tobytes())
    assert re.search(r"this processor takes \d+ ms for 40 ms of sound", one.until("slow")["text"])
    assert one.until("state")["load"] > 1


def test_sound_that_is_too_late_is_left_out_and_counted(
    speak: Any, sentence: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = speak(voice="eric")
    one.until("ready")
    real = handler.Speaker.push
    monkeypatch.setattr(handler.Speaker, "push", lambda self, block: time.sleep(1) or real(self, block))
    for block in np.array_split(sentence, 20):
        one.socket.send(block.tobytes())
    # what was left out is silence, so that both directions stay in step
    time.sleep(0.5)
    monkeypatch.setattr(handler.Speaker, "push", real)
    one.rest()
    while not any(found["type"] == "ended" for found in one.messages):
        got = one.socket.recv(PATIENCE)
        if isinstance(got, str):
            one.messages.append(json.loads(got))
    ended = one.messages[-1]
    assert ended["receipt"]["output"]["samples"] == len(sentence) + 3320
    one.code()


def test_it_says_that_the_microphone_clips(speak: Any, sentence: Samples) -> None:
    one = speak(voice="eric", realtime=False)
    one.until("ready")
    loud = (20 * sentence).clip(-1, 1)
    for block in loud[:16_000].reshape(10, -1):
        one.answer(np.ascontiguousarray(block).tobytes())
    time.sleep(endpoint.TOLD)
    state = one.until("state")
    while not state["clipped"]:
        state = one.until("state")
    assert state["clipped"] > 20
    assert state["xruns"] == 0


def test_a_silent_client_is_closed(speak: Any, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "SILENT", 0.3)
    one = speak(voice="eric")
    one.until("ready")
    assert one.code() == endpoint.REFUSED
    assert "nothing came for" in one.messages[-1]["text"]
    idle(state)
    # also one that never says what it wants
    nobody = speak()
    assert nobody.code() == endpoint.REFUSED


def test_the_time_is_limited(speak: Any, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.live, "seconds", 0.2)
    one = speak(voice="eric")
    ended = one.until("ended")
    assert "the limit here" in ended["text"]
    assert ended["receipt"]["signature"]
    assert one.code() == endpoint.FINE


def test_a_service_that_closes_says_so_and_keeps_the_recording(
    speak: Any, state: State, sentence: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = speak(voice="eric", realtime=False, record=True)
    one.until("ready")
    one.spoken(sentence)
    monkeypatch.setattr(state.live, "draining", True)
    ended = one.until("ended")
    assert "closing" in ended["text"]
    assert Path(ended["file"]).is_file()
    assert one.code() == endpoint.CLOSING
    late = speak(voice="eric")
    assert late.code() == endpoint.CLOSING


def test_the_signal_to_end_ends_a_live_conversion_in_order(sentence: Samples, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "SPEECHSSL_KEY": str(tmp_path / "key.pem")}
    command = [sys.executable, "-m", "speechssl", "app", "--port", "0", "--voices", str(tmp_path / "voices")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        end = time.monotonic() + 4 * PATIENCE
        while b'"ok"' not in health(address):
            assert time.monotonic() < end
            time.sleep(0.2)
        with Speaking(address, voice="eric", realtime=False) as one:
            one.until("ready")
            one.spoken(sentence)
            process.send_signal(signal.SIGTERM)
            assert "closing" in one.until("ended")["text"]
            assert one.code() == endpoint.CLOSING
        process.communicate(timeout=4 * PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0


def health(address: str) -> bytes:
    try:
        return fetched(f"{address}/health", PATIENCE)[1]
    except OSError:
        return b""


def test_the_client_of_the_examples_converts_a_recording(address: str, tmp_path: Path) -> None:
    source, output = tmp_path / "talk.wav", tmp_path / "spoken.wav"
    audio.write(source, audio.resample(audio.read(speechssl.clip("ada", "sentence").path), 44_100))
    place = address.replace("http", "ws") + "/live"
    command = [sys.executable, str(EXAMPLE), str(source), str(output), "--voice", "eric", "--address", place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "207.5 ms later" in done.stdout
    assert '"name": "eric"' in done.stdout
    before, after = audio.read(source), audio.read(output)
    assert after.sample_rate == 44_100
    assert after.seconds == pytest.approx(before.seconds + 0.2075, abs=1e-3)
    embedder = speechssl.load_embedder("tiny")
    wanted = embedder.embed(audio.read(speechssl.clip("eric").path)).vector
    assert float(embedder.embed(after).vector @ wanted) > float(embedder.embed(before).vector @ wanted) + 0.2
    wrong = subprocess.run([*command, "--voice", "nobody"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "nobody" in wrong.stderr


def test_jobs_leave_a_core_to_who_speaks(state: State) -> None:
    jobs = state.jobs
    with jobs.beside(), jobs.start(state.sessions.get(None)):
        assert jobs.running == max(1, jobs.parallel - 1)
