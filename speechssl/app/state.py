"""What all handlers share: settings, models that are loaded once, voices, keys, sessions, and the count of jobs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl.app.jobs import Job, Tell
from speechssl.app.sessions import Session, Sessions, Stopped
from speechssl.errors import InputError, SpeechSSLError

if TYPE_CHECKING:
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.receipts.signing import Signer
    from speechssl.signals import Embedder
    from speechssl.synthesis.synthesizer import Synthesizer
    from speechssl.verification.calibration import Calibration
    from speechssl.verification.database import SpeakerDatabase
    from speechssl.voices import VoiceLibrary

CACHE_BYTES = 256 << 20  # encoded sources and references that a changed slider uses again


@dataclass(frozen=True)
class Settings:
    """How a service behaves; the defaults suit one person on their own machine.

    Args:
        voices: folder of stored voices; None for that of the command line.
        speakers: database of enrolled speakers; None for that of the command line.
        consent: whether cloning needs an attestation; where it does not, the receipts say so.
        watermark: mark what is made, where Perth is installed.
        models: that may be chosen; the first is the default. Others than ``tiny`` may have to be fetched.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        megabytes: of one upload.
        source_seconds: of a source.
        reference_seconds: of all references of a voice.
        references: recordings of a voice.
        batch_seconds: of all recordings in one zip.
        job_seconds: after which a job is ended; in a zip every recording is one.
        waiting: jobs in the queue; more are turned away.
        jobs: that run at once; 0 for one a core, two at most.
        keep_seconds: after which files of an idle session are deleted.
    """

    voices: Path | None = None
    speakers: Path | None = None
    consent: bool = True
    watermark: bool = True
    models: tuple[str, ...] = ("tiny",)
    device: str = "auto"
    megabytes: int = 100
    source_seconds: float = 900.0
    reference_seconds: float = 1800.0
    references: int = 20
    batch_seconds: float = 7200.0
    job_seconds: float = 600.0
    waiting: int = 40
    jobs: int = 0
    keep_seconds: float = 3600.0


class Refused(InputError):
    """What a field of the page holds cannot be used; ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@contextlib.contextmanager
def field(name: str) -> Iterator[None]:
    """Blame a field for what goes wrong inside."""
    try:
        yield
    except (Refused, Stopped):
        raise
    except SpeechSSLError as error:
        raise Refused(name, str(error)) from error


class Workshop:
    """Everything the handlers need.

    Args:
        settings: see there.
        folder: private, for files of sessions; None for a temporary one that ``close`` deletes.
    """

    def __init__(self, settings: Settings | None = None, *, folder: Path | None = None) -> None:
        self.settings = settings or Settings()
        self._own_folder = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="speechssl-app-")) if folder is None else folder
        self.sessions = Sessions(self.folder, self.settings.keep_seconds)
        self.running, self.done, self.draining = 0, 0, False
        self.started = time.time()
        self._lock = threading.Lock()
        self.library_lock = threading.Lock()
        self._models: dict[str, Any] = {}
        self._loading: dict[str, threading.Lock] = {}
        self._cache: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    @property
    def jobs(self) -> int:
        """How many may run at once."""
        return self.settings.jobs or min(2, os.cpu_count() or 1)

    def close(self) -> None:
        """Delete the files of all sessions."""
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- jobs

    @contextlib.contextmanager
    def job(self, session: Session, tell: Tell = lambda share, text: None) -> Iterator[Job]:
        """Count a job that reports progress and is ended when it must.

        Raises:
            Stopped: the service is closing; inside, also when the person cancels or the time is over.
        """
        with self._lock:
            if self.draining:
                raise Stopped("the service is closing; try again in a minute")
            self.running += 1
        try:
            yield Job(session, tell, self.settings.job_seconds)
        finally:
            with self._lock:
                self.running -= 1
                self.done += 1

    def drain(self, seconds: float) -> bool:
        """Take no more jobs and wait for those that run; False if some did not end in time."""
        self.draining = True
        end = time.monotonic() + seconds
        while self.running and time.monotonic() < end:
            time.sleep(0.05)
        return self.running == 0

    # ---- what is loaded once

    def system(self, model: str) -> VoiceConverter:
        """Encoder and vocoder of a model, loaded once.

        Raises:
            InputError: a model that is not offered here.
            CheckpointError: weights that are missing or cannot be fetched.
        """
        from speechssl.conversion.bundles import load_bundle

        if model not in self.settings.models:
            raise InputError(
                f"the model {model!r} is not offered here; one of {', '.join(self.settings.models)} needed"
            )
        found: VoiceConverter = self._once(f"bundle {model}", lambda: load_bundle(model, device=self.settings.device))
        return found

    def synthesizer(self) -> Synthesizer:
        """Text to speech with the default model.

        Raises:
            CheckpointError: there is no text model in the package.
        """
        from speechssl.synthesis import say

        found: Synthesizer = self._once("text", lambda: say.load_synthesizer(system=self.system("tiny")))
        return found

    def embedder(self) -> Embedder:
        """What recordings are verified with."""
        from speechssl.verification import embedders

        found: Embedder = self._once("embedder", lambda: embedders.load("tiny", device=self.settings.device))
        return found

    def calibration(self, user: str = "") -> Calibration | None:
        """The user's own calibration, else that of the model."""
        from speechssl.verification import decisions

        with self.speakers(user) as store:
            own = store.calibration(self.embedder().origin)
        return own or decisions.shipped_calibration(self.embedder())

    def codebook(self, name: str) -> Any:
        """A codebook of units, loaded once."""
        from speechssl.units.codebooks import codebook

        return self._once(f"codebook {name}", lambda: codebook.load(name))

    def signer(self) -> Signer:
        """The key of the receipts."""
        from speechssl.receipts.signing import Signer

        found: Signer = self._once("signer", Signer)
        return found

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            lock = self._loading.setdefault(key, threading.Lock())
        with lock:
            if key not in self._models:
                self._models[key] = make()
            return self._models[key]

    def cached(self, key: Any, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """What was made before for this key; the least used are dropped above ``CACHE_BYTES``."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key][0]
        made = make()
        with self._lock:
            self._cache[key] = (made, size(made))
            while len(self._cache) > 1 and sum(bytes_ for _, bytes_ in self._cache.values()) > CACHE_BYTES:
                self._cache.popitem(last=False)
        return made

    # ---- what is kept

    def library(self, user: str = "") -> VoiceLibrary:
        """The stored voices of a user; where nobody signs in, those of the command line."""
        from speechssl.checkpoints import data_folder
        from speechssl.voices import VoiceLibrary

        folder = self.settings.voices or data_folder()
        return VoiceLibrary(folder / "users" / _folder_of(user) if user else folder)

    def speakers(self, user: str = "") -> SpeakerDatabase:
        """The enrolled speakers of a user; to be closed."""
        from speechssl.verification.database import SpeakerDatabase, default_path

        path = self.settings.speakers or default_path()
        return SpeakerDatabase(path.with_name(f"{path.stem}-{_folder_of(user)}{path.suffix}") if user else path)

    def prints(self, user: str = "") -> SpeakerDatabase:
        """Voice prints of the stored voices, which hold no sound to compare a result with; to be closed."""
        from speechssl.verification.database import SpeakerDatabase

        return SpeakerDatabase(self.library(user).folder / "prints.sqlite")


def _folder_of(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()[:16]
