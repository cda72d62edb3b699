"""Encoding in one or several processes, each with one thread, so that sums are always taken in the same order."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from speechssl import encoders
from speechssl.checkpoints import choose_device
from speechssl.encoders.precision import one_thread
from speechssl.errors import InputError, SpeechSSLError
from speechssl.units.codebooks import codebook as codebooks

if TYPE_CHECKING:
    from speechssl.units.encoding.engine import Work
    from speechssl.units.encoding.manifest import Entry
    from speechssl.units.encoding.records import UnitEncoder

AHEAD = 4  # recordings queued for each process


@dataclass(frozen=True)
class Recipe:
    """Options of a unit encoder; plain values that can be sent to another process.

    Args:
        codebook: name or path.
        model: encoder as ``encoders.load`` takes it; empty for the one the codebook's origin names.
        layer: of the encoder; None for the one the codebook's origin names.
        normalise: of the waveform; None for what the codebook's origin names.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``float32`` or ``bfloat16``.
        collapsed: see ``UnitEncoder``.
        speech_only: see ``UnitEncoder``.
    """

    codebook: str
    model: str = ""
    layer: int | None = None
    normalise: bool | None = None
    device: str = "auto"
    precision: str = "float32"
    collapsed: bool = True
    speech_only: bool = False

    def make(self) -> UnitEncoder:
        """Load the encoder and the codebook.

        Raises:
            InputError: they do not belong together, or an unknown option.
            CheckpointError: a file that is missing or damaged.
        """
        from speechssl.encoders import origins
        from speechssl.units.encoding.records import UnitEncoder

        book = codebooks.load(self.codebook)
        name, layer, normalise = origins.parsed(book.features)
        encoder = encoders.load(
            self.model or name,
            layer=layer if self.layer is None else self.layer,
            device=self.device,
            precision=self.precision,
            normalise=normalise if self.normalise is None else self.normalise,
        )
        return UnitEncoder(encoder, book, self.collapsed, self.speech_only)


def serial(recipe: Recipe, heard: Callable[[str, float], None] = lambda *_: None) -> Work:
    """Encode in this process.

    Args:
        recipe: codebook and encoder.
        heard: called with the id of a recording and the seconds of each piece of it that is encoded.
    """

    def work(items: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, dict[str, Any]]]:
        with one_thread():
            for index, entry in items:
                yield index, attempt(ready(recipe), entry, functools.partial(heard, entry.id))

    return work


@contextlib.contextmanager
def parallel(recipe: Recipe, workers: int) -> Iterator[Work]:
    """Encode in several processes, none of which has copies of the threads of this one.

    On Linux they are forked from a clean process that has imported what all of them need, which starts them several
    times as fast as importing it in each and lets them share its memory. It ends with this process.

    Raises:
        InputError: a process died, for example because memory ran out.
    """
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool

    context = _context(recipe)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin, initargs=(recipe, dict(os.environ))
    ) as pool:

        def work(items: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, dict[str, Any]]]:
            waiting: set[Future[tuple[int, dict[str, Any]]]] = set()
            for index, entry in items:
                waiting.add(pool.submit(_one, recipe, index, entry))
                if len(waiting) >= AHEAD * workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)

        try:
            yield work
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died, perhaps for want of memory; what was done is kept: "
                "run the same command again, with fewer --workers"
            ) from error


def _context(recipe: Recipe) -> multiprocessing.context.BaseContext:
    # what CUDA holds does not outlive a fork
    if sys.platform != "linux" or choose_device(recipe.device).type != "cpu":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # encoders of transformers need seconds of imports, and Whisper's none of them
    more = ["speechssl.units.encoding.warm"] if "transformers" in sys.modules else []
    context.set_forkserver_preload(["speechssl.units.encoding.records", __name__, *more])
    return context


def attempt(encoder: UnitEncoder, entry: Entry, heard: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
    """``{"record": ...}``, perhaps with a ``"remark"``, or ``{"failure": reason}`` where this cannot be encoded."""
    try:
        record = encoder.record(entry, heard)
        # the columns of an output are the same for all recordings
        remark = record.pop("no_speech", "")
        return {"record": record, **({"remark": remark} if remark else {})}
    except (SpeechSSLError, OSError) as error:
        return {"failure": str(error)}
    # a decoder may raise anything on one bad file; the other files go on
    except (RuntimeError, ValueError, ArithmeticError, LookupError) as error:
        return {"failure": f"{type(error).__name__}: {error}"}


_made: dict[Recipe, UnitEncoder] = {}


def ready(recipe: Recipe) -> UnitEncoder:
    """The unit encoder of this process, made on first use."""
    if recipe not in _made:
        _made.clear()
        _made[recipe] = recipe.make()
    return _made[recipe]


def _begin(recipe: Recipe, environment: dict[str, str]) -> None:
    # the process it was forked from may be older than a setting
    os.environ.update(environment)
    # Ctrl-C goes to the parent process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    ready(recipe)


def _end_with_parent() -> None:
    """Exit when the parent process is killed; the pool alone would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(recipe: Recipe, index: int, entry: Entry) -> tuple[int, dict[str, Any]]:
    return index, attempt(ready(recipe), entry)
