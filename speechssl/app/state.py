"""What the handlers share, one object a concern: settings, models, stored voices and speakers, jobs, sessions.

``State`` bundles them for the page and the endpoints; a handler takes only those that it uses.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from speechssl.app.jobs import Jobs, shielded
from speechssl.app.sessions import Sessions
from speechssl.errors import CheckpointError, InputError, SpeechSSLError

if TYPE_CHECKING:
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.receipts.signing import Signer
    from speechssl.signals import Embedder
    from speechssl.synthesis.synthesizer import Synthesizer
    from speechssl.verification.calibration import Calibration
    from speechssl.verification.database import SpeakerDatabase
    from speechssl.voices import VoiceLibrary

OWN, ALIVE = "speechssl-app-", ".alive"  # begins the name of a service's folder; the lock in it while it lives
MOST_MESSAGE = 1 << 19  # bytes of a message of the WebSocket: more than a second of sound
CACHE_BYTES = 256 << 20  # encoded sources and references, kept so that a changed option encodes nothing again


@dataclass(frozen=True)
class Settings:
    """How a service behaves; the defaults suit one person on their own machine.

    Args:
        voices: folder of stored voices; None for the folder of the command line.
        speakers: database of enrolled speakers; None for the database of the command line.
        consent: whether cloning needs an attestation; if not, the receipts say so.
        watermark: whether results carry the watermark, if Perth is installed.
        models: names that may be chosen; the first is the default. All but ``tiny`` may have to be downloaded.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        megabytes: largest upload.
        source_seconds: longest source.
        reference_seconds: longest references of one voice, together.
        references: most recordings of one voice.
        batch_seconds: longest recordings of one zip, together.
        job_seconds: longest job; every recording of a zip is a job.
        waiting: most jobs in the queue; further ones are turned away.
        jobs: jobs that run in parallel; 0 means one per core, at most two.
        live: people who speak live at once; 0 means one per core, with one core left for jobs.
        live_seconds: longest live conversion.
        kept_megabytes: files that one user or address may keep here.
        kept_megabytes_in_all: files that all of them may keep here.
        keep_seconds: from the last request of a session to the deletion of its files.
        public: whether the visitors have no accounts and share nothing. Each browser window then has voices and
            speakers of its own, in the private folder, deleted like all files of a session.
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
    live: int = 0
    live_seconds: float = 3600.0
    kept_megabytes: int = 2000
    kept_megabytes_in_all: int = 10_000
    keep_seconds: float = 3600.0
    public: bool = False

    @property
    def parallel(self) -> int:
        """How many jobs run at once."""
        return self.jobs or min(2, os.cpu_count() or 1)

    @property
    def speakers_at_once(self) -> int:
        """How many people speak live at once."""
        return self.live or max(1, (os.cpu_count() or 1) - 1)


class Models:
    """Networks, each loaded once, and a cache of recordings that they encoded.

    Args:
        names: models that are offered for conversion; text, units and verification always use ``tiny``.
        device: see ``Settings``.
    """

    def __init__(self, names: Sequence[str] = ("tiny",), device: str = "auto") -> None:
        self.names, self.device, self.cache = tuple(names), device, Cache(CACHE_BYTES)
        self._lock = threading.Lock()
        self._loaded: dict[str, Any] = {}
        self._loading: dict[str, threading.Lock] = {}

    def system(self, model: str) -> VoiceConverter:
        """Return the encoder and the vocoder of a model.

        Raises:
            InputError: the model is not offered here.
            CheckpointError: weights are missing or cannot be downloaded.
        """
        if model not in (*self.names, "tiny"):
            raise InputError(f"the model {model!r} is not offered here; one of {', '.join(self.names)} needed")
        return self._loaded_bundle(model, self.device)

    def live_system(self) -> VoiceConverter:
        """Return the encoder and the vocoder of ``tiny`` on the CPU, where live conversion runs.

        Raises:
            CheckpointError: weights are missing.
        """
        found = self.system("tiny")
        on_cpu = str(getattr(found.vocoder, "device", "cpu")) == "cpu"
        return found if on_cpu else self._loaded_bundle("tiny", "cpu")

    def _loaded_bundle(self, model: str, device: str) -> VoiceConverter:
        from speechssl.conversion.bundles import load_bundle

        return self._once(f"bundle {model} {device}", lambda: load_bundle(model, device=device))

    def synthesizer(self) -> Synthesizer:
        """Return text to speech with the model in the package.

        Raises:
            CheckpointError: the package has no text model.
        """
        from speechssl.synthesis import say

        return self._once("text", lambda: say.load_synthesizer(system=self.system("tiny")))

    def embedder(self) -> Embedder:
        """Return the model of speaker verification."""
        from speechssl.verification import embedders

        return self._once("embedder", lambda: embedders.load("tiny", device=self.device))

    def codebook(self, name: str) -> Any:
        """Return a codebook of units."""
        from speechssl.units.codebooks import codebook

        return self._once(f"codebook {name}", lambda: codebook.load(name))

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            lock = self._loading.setdefault(key, threading.Lock())
        with lock:
            if key not in self._loaded:
                try:
                    with shielded():
                        self._loaded[key] = make()
                except SpeechSSLError as error:
                    raise CheckpointError(f"a model of this service cannot be loaded: {error}") from error
            return self._loaded[key]


class Cache:
    """Results of a computation by key; the least recently used are dropped above a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def get(self, key: Any, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """Return the result for this key, made now if it is not there; ``size`` gives its bytes."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        made = make()
        with self._lock:
            self._kept[key] = (made, size(made))
            while len(self._kept) > 1 and sum(bytes_ for _, bytes_ in self._kept.values()) > self.most_bytes:
                self._kept.popitem(last=False)
        return made

    def __contains__(self, key: Any) -> bool:
        return key in self._kept


class Store:
    """What is kept on disk: stored voices, enrolled speakers, and the key that signs receipts.

    Every method takes a user; the empty user has the voices and speakers of the command line.

    Args:
        voices: see ``Settings``.
        speakers: see ``Settings``.
    """

    def __init__(self, voices: Path | None = None, speakers: Path | None = None) -> None:
        self._voices, self._speakers = voices, speakers
        self._signer: Signer | None = None
        self._signing = threading.Lock()

    def library(self, user: str = "") -> VoiceLibrary:
        """Return the stored voices of a user."""
        from speechssl.checkpoints import data_folder
        from speechssl.voices import VoiceLibrary

        folder = self._voices or data_folder()
        return VoiceLibrary(folder / "users" / _folder_of(user) if user else folder)

    def speakers(self, user: str = "") -> SpeakerDatabase:
        """Open the enrolled speakers of a user; the caller closes the database."""
        from speechssl.verification.database import SpeakerDatabase, default_path

        path = self._speakers or default_path()
        return SpeakerDatabase(path.with_name(f"{path.stem}-{_folder_of(user)}{path.suffix}") if user else path)

    def calibration(self, embedder: Embedder, user: str = "") -> Calibration | None:
        """Return the user's own calibration of a model, or else the one that ships with the model."""
        from speechssl.verification import decisions

        with self.speakers(user) as speakers:
            own = speakers.calibration(embedder.origin)
        return decisions.calibration_for(embedder, own)

    def signer(self) -> Signer:
        """Return the key that signs receipts, made at its first use."""
        from speechssl.receipts.signing import Signer

        with self._signing:
            self._signer = self._signer or Signer()
            return self._signer


class State:
    """All objects of one service.

    Args:
        settings: None for the defaults.
        folder: private, for the files of sessions; None for a temporary one that ``close`` deletes.
    """

    def __init__(self, settings: Settings | None = None, *, folder: Path | None = None) -> None:
        settings = settings or Settings()
        self._alive: FileLock | None = None
        if folder is None:
            _remove_dead()
            folder = Path(tempfile.mkdtemp(prefix=OWN))
            self._alive = FileLock(folder / ALIVE, thread_local=False)
            self._alive.acquire()
        self.folder = folder
        if settings.public:
            settings = dataclasses.replace(
                settings, voices=self.folder / "voices", speakers=self.folder / "speakers.sqlite"
            )
        self.settings = settings
        self.models = Models(settings.models, settings.device)
        self.store = Store(settings.voices, settings.speakers)
        self.jobs = Jobs(settings.job_seconds, settings.parallel, settings.waiting)
        self.live = Jobs(settings.live_seconds, settings.speakers_at_once, settings.waiting)  # people who speak
        # where Gradio may serve files from: it copies no result
        self.sessions = Sessions(self.folder / "gradio", settings.keep_seconds, apart=settings.public)
        self.endpoints: dict[str, tuple[str, ...]] = {}  # of the API, with the names of their arguments
        self.started = time.time()

    @property
    def shared(self) -> tuple[Models, Store, Settings]:
        """What most handlers take first."""
        return self.models, self.store, self.settings

    def close(self) -> None:
        """Delete the files of all sessions."""
        if self._alive is not None:
            self._alive.release()
            shutil.rmtree(self.folder, ignore_errors=True)

    def sentence(self, error: SpeechSSLError) -> str:
        """Return the message of an error, without folders of this machine and commands."""
        text = str(error).replace("Make it with 'voice add', or convert with", "Store it first, or take")
        for place in (self.folder, self.store.library().folder):
            # the names of folders below these two mean nothing to a person
            below = rf"(?i){re.escape(str(place))}(/(upload-|session-)?[0-9a-f]{{16,}}|/gradio|/users)*(/|\b)"
            text = re.sub(below, lambda found: "" if found[3] else "this service", text)
        # any other absolute path keeps its last part; addresses of the web stay whole
        return re.sub(r"(?<![\w/:.])/(?:[^/\s:]+/)+", "", text) or "something went wrong"


def _remove_dead() -> None:
    """Delete the folders of services that were killed: the system let go of their locks."""
    for lock in Path(tempfile.gettempdir()).glob(f"{OWN}*/{ALIVE}"):
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (OSError, Timeout):
            continue  # it lives, or is somebody else's


def _folder_of(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()[:16]
