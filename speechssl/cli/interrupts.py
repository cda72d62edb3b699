"""Ctrl-C and SIGTERM end a command cleanly, whatever it does in that moment."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from typing import Any

AGAIN = 0.02  # seconds after which a swallowed signal comes again


def listen() -> None:
    """Let SIGTERM clean up as Ctrl-C does, and let neither be lost.

    Python prints and forgets what is raised while an object is deleted (``__del__``) or while C code calls back, as
    soundfile does at every recording: a Ctrl-C in that moment would end nothing. It comes again a moment later.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    printed = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        number = _signal_of(unraisable.exc_value)
        if number is None:
            printed(unraisable)
            return
        timer = threading.Timer(AGAIN, _raise, [number])
        timer.daemon = True
        # at the end of the interpreter there is nothing left to interrupt
        with contextlib.suppress(RuntimeError):
            timer.start()

    sys.unraisablehook = hook


def _signal_of(error: BaseException | None) -> signal.Signals | None:
    """The signal whose handler raised the error."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:
        return signal.SIGTERM
    return None


def _raise(number: signal.Signals) -> None:
    """Interrupt the main thread, out of a wait too where the system can."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)
    else:
        _thread.interrupt_main(number)
