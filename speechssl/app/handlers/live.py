"""One person who speaks live: options and consent, sound in and out, and the receipt at the end."""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl.app.handlers import recordings, targets
from speechssl.app.handlers.targets import Target
from speechssl.app.refusals import Refused, blaming
from speechssl.app.sessions import Session
from speechssl.app.state import Models, Settings, Store
from speechssl.audio.live_resampler import LiveResampler
from speechssl.conversion import steps
from speechssl.conversion.live import LATENCY, LiveConverter
from speechssl.conversion.live_session import check_speed, hop_seconds
from speechssl.conversion.options import ConversionOptions
from speechssl.errors import InputError
from speechssl.receipts import contents, signing
from speechssl.signals import Waveform
from speechssl.voices.consent import Consent
from speechssl.voices.matching_set import MatchingSet

FORMATS: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int16": np.dtype("<i2")}  # of samples, little-endian
SCALE = 32768.0  # of 16 bits
LOUDEST = 10.0  # times full scale; no microphone gives more
MARKED = 10.0  # seconds that are watermarked at once
WATCHED = 3.0  # seconds of sound over which the processor is watched


@dataclass(frozen=True)
class Asked:
    """What a person or a program asks for.

    Args:
        voice: stored or bundled, or several with weights.
        consent: the attestation; voices that were stored without one need it.
        options: as ``LiveConverter`` takes them.
        sample_rate: of the sound in both directions, Hz.
        sample_format: one of ``FORMATS``, in both directions.
        latency: of the conversion, seconds.
        record: whether what is spoken is kept as a recording of the session.
        realtime: whether the processor has to keep up.
    """

    voice: Target
    consent: Consent | None = None
    options: ConversionOptions = field(default_factory=ConversionOptions)
    sample_rate: int = LiveConverter.sample_rate
    sample_format: str = "float32"
    latency: float = LATENCY
    record: bool = False
    realtime: bool = True


class Speaker:
    """A live conversion of blocks of bytes.

    Args:
        models: for ``tiny`` on the CPU.
        store: stored voices, and the key that signs.
        settings: consent, watermark, and the longest recording.
        session: takes the recording.
        asked: what is wanted.
    Raises:
        Refused: consent is missing, a voice or an option cannot be used live, or this processor is too slow.
    """

    def __init__(self, models: Models, store: Store, settings: Settings, session: Session, asked: Asked) -> None:
        self._models, self._store, self._settings, self._session, self._asked = models, store, settings, session, asked
        if asked.sample_format not in FORMATS:
            raise Refused("sample_format", f"got {asked.sample_format!r}; {' or '.join(FORMATS)} needed")
        self._type = FORMATS[asked.sample_format]
        self._voices: list[MatchingSet] = []
        self._consents: list[dict[str, Any]] = []
        voice = self._checked(asked.voice, asked.consent)
        with blaming("options"):
            self.converter = LiveConverter(models.live_system(), voice, asked.options, latency=asked.latency)
        usual, self.slow_hop = hop_seconds(self.converter)
        with blaming("latency") if asked.realtime else contextlib.suppress(InputError):
            check_speed(self.converter, usual, "a latency of")
        own, rate = self.converter.sample_rate, asked.sample_rate
        self._ways = None if rate == own else (LiveResampler(rate, own), LiveResampler(own, rate))
        self._digest, self._heard, self._spoken = hashlib.sha256(), 0, 0  # samples in and out
        self._kept: list[torch.Tensor] = []
        self._costs: deque[tuple[float, float]] = deque()  # seconds of work and of sound
        self.level = (0.0, 0.0)  # highest samples of the last block, in and out

    @property
    def latency(self) -> int:
        """Samples of the client from one that is sent to the same one spoken."""
        return self._scaled(self.converter.latency)

    @property
    def block(self) -> int:
        """Samples of the client that are converted at a time."""
        return self._scaled(self.converter.hop)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample."""
        return int(self._type.itemsize)

    @property
    def most_bytes(self) -> int:
        """Bytes of the longest block, a second."""
        return self._asked.sample_rate * self.sample_bytes

    @property
    def load(self) -> float:
        """Share of its own time that the sound of the last seconds took to convert."""
        sound = sum(seconds for _, seconds in self._costs)
        return sum(work for work, _ in self._costs) / sound if sound else 0.0

    def check_speed(self) -> None:
        """Say so if the processor did not keep up lately.

        Raises:
            InputError: names the latency that would do, if there is one.
        """
        check_speed(self.converter, self.load * self.converter.hop / self.converter.sample_rate, "a latency of")

    def change(self, voice: Target, consent: Consent | None) -> None:
        """Go on in another voice.

        Raises:
            Refused: as at the beginning; the voice stays as it is.
        """
        chosen = self._checked(voice, consent)
        with blaming("voice"):
            self.converter.change(chosen)

    def push(self, block: bytes) -> bytes:
        """Convert a block of samples: as many come back, but for a few that wait for a change of the sample rate.

        Raises:
            Refused: no whole number of samples, more than a second, or samples that are no numbers.
        """
        size = self.sample_bytes
        if len(block) % size or len(block) > self.most_bytes:
            needed = f"{self._asked.sample_format}, so a multiple of {size}, and at most {self.most_bytes}, needed"
            raise Refused("block", f"got {len(block)} bytes; {needed}")
        samples = np.frombuffer(block, self._type).astype(np.float32)
        if self._type.kind == "i":
            samples /= SCALE
        if not np.isfinite(samples).all():
            raise Refused("block", "got samples that are no numbers (NaN or infinite); finite samples needed")
        return self._answer(samples.clip(-LOUDEST, LOUDEST))

    def skip(self, count: int) -> bytes:
        """Silence in place of so many bytes that were left out."""
        missing = np.zeros(count // self.sample_bytes, np.float32)
        self._heard += len(missing)
        return self._encoded(missing)

    def rest(self) -> bytes:
        """The last ``latency`` samples, as if silence followed."""
        wanted = self._heard + self.latency - self._spoken
        silence = np.zeros(wanted + self._asked.sample_rate // 50, np.float32)
        return self._encoded(self._converted(silence)[:wanted])

    def finish(self) -> dict[str, Any]:
        """Sign the receipt and write the recording, if one is kept.

        Returns:
            ``seconds`` that were spoken, the ``receipt``, and the path of the recording as ``file``, or None.
        """
        rate = self._asked.sample_rate
        facts = contents.of_live(self._voices, consent=self._consents)
        facts["settings"] = {"latency": self.converter.latency / self.converter.sample_rate}
        if self._kept:
            return self._written(facts)
        output = {"coding": self._asked.sample_format, "rate": rate, "samples": self._spoken,
                  "sha256": self._digest.hexdigest()}  # fmt: skip
        receipt = signing.receipt_of({**facts, "watermark": None}, output, self._store.signer())
        return {"seconds": round(self._spoken / rate, 3), "receipt": receipt, "file": None}

    def _written(self, facts: dict[str, Any]) -> dict[str, Any]:
        rate, name = self.converter.sample_rate, self._asked.voice.name
        whole = torch.cat(self._kept)
        pieces = [
            recordings.marked(self._settings, Waveform(one, rate)) for one in torch.split(whole, round(MARKED * rate))
        ]
        path = self._session.place(f"live-as-{name}", ".wav")
        mark = recordings.write(self._settings, path, pieces)
        receipt = signing.issue(path, {**facts, "watermark": mark}, self._store.signer())
        made = {"seconds": round(len(whole) / rate, 3), "receipt": receipt}
        label = f"{name[:24]}, {1000 * self.converter.latency / rate:.0f} ms later"
        self._session.remember({"what": "live", "path": path, "label": label, "made": receipt["created"], **made})
        return {**made, "file": str(path)}

    def _checked(self, voice: Target, consent: Consent | None) -> list[tuple[MatchingSet, float]]:
        """The voices of a target, which the receipt names from now on."""
        targets.check(self._settings, voice)
        user = self._session.user
        consents = targets.consents_of(self._settings, self._store, user, voice, consent)
        with blaming("voice"):
            found = [
                (targets.stored(self._models, self._store, user, name, "tiny"), share) for name, share in voice.voices
            ]
            steps.blend(self._models.live_system(), found)
        self._voices += [one for one, _ in found if all(one.name != other.name for other in self._voices)]
        self._consents += [one for one in consents if one not in self._consents]
        return found

    def _scaled(self, samples: int) -> int:
        return round(samples * self._asked.sample_rate / self.converter.sample_rate)

    def _answer(self, samples: NDArray[np.float32]) -> bytes:
        start, seconds = perf_counter(), len(samples) / self._asked.sample_rate
        self._heard += len(samples)
        made = self._converted(samples)
        self._costs.append((perf_counter() - start, seconds))
        while sum(sound for _, sound in self._costs) > WATCHED:
            self._costs.popleft()
        high, low = (float(np.abs(one).max(initial=0.0)) for one in (samples, made))
        self.level = (high, low)
        return self._encoded(made)

    def _converted(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        given = samples if self._ways is None else self._ways[0].push(samples)
        spoken = self.converter.push(torch.from_numpy(given))
        if (
            self._asked.record
            and sum(map(len, self._kept)) < self._settings.source_seconds * self.converter.sample_rate
        ):
            self._kept.append(spoken)
        return spoken.numpy() if self._ways is None else self._ways[1].push(spoken.numpy())

    def _encoded(self, samples: NDArray[np.float32]) -> bytes:
        made = samples if self._type.kind == "f" else (samples * (SCALE - 1)).round()
        block: bytes = made.astype(self._type).tobytes()
        self._digest.update(block)
        self._spoken += len(samples)
        return block
