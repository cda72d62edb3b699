"""``speechssl live``: speak into a microphone, and be heard in another voice."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from speechssl.cli import models, outputs, receipt, terminal
from speechssl.cli.options import Json, Receipt, Voice, examples
from speechssl.cli.outputs import Overwrite
from speechssl.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speechssl.audio.devices import Device, Devices
    from speechssl.conversion.live import LiveConverter
    from speechssl.conversion.live_session import LiveSession
    from speechssl.voices.matching_set import MatchingSet

VIRTUAL, SINK = "speechssl", "speechssl_out"  # the virtual microphone, and what is played for it
BUSY = 0.7  # share of the time that hops take, above which a warning is due
CLIPPED = 20  # samples at full scale
EVERY = 0.1  # seconds between two looks at the meters
DB, WIDTH = 60, 15  # of a meter, and its characters
EXAMPLES = examples(
    "live --voice eric",
    "live --list-devices",
    "live --voice eric --input USB --latency 120 --record talk.wav",
    "live --voice eric --virtual-mic",
)


Input: TypeAlias = Annotated[
    str | None, typer.Option("--input", metavar="DEVICE", help="Microphone: a number, or a part of its name.")
]
Output: TypeAlias = Annotated[
    str | None, typer.Option("--output", "-o", metavar="DEVICE", help="Loudspeaker: a number, or a part of its name.")
]
Latency: TypeAlias = Annotated[
    int,
    typer.Option("--latency", metavar="MS", help="Delay of the conversion, 88 to 528 ms, without that of devices."),
]
Monitor: TypeAlias = Annotated[
    bool,
    typer.Option("--monitor", help="Also play on the usual loudspeaker, if --output or --virtual-mic is another."),
]
Record: TypeAlias = Annotated[
    Path | None, typer.Option("--record", metavar="FILE", help="Also write what is spoken to this file.")
]
VirtualMic: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--virtual-mic",
        help="Make a microphone named speechssl for other programs (Linux with PipeWire or PulseAudio).",
    ),
]
Seconds: TypeAlias = Annotated[
    float | None, typer.Option("--seconds", help="Stop after so many seconds. Default: Ctrl-C.")
]
ListDevices: TypeAlias = Annotated[bool, typer.Option("--list-devices", help="List microphones and loudspeakers.")]


def live(
    voice: Voice = None,
    input_: Input = None,
    output: Output = None,
    latency: Latency = 220,
    monitor: Monitor = False,
    record: Record = None,
    virtual_mic: VirtualMic = False,
    seconds: Seconds = None,
    list_devices: ListDevices = False,
    sign: Receipt = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Speak into a microphone and be heard in another voice, about a quarter of a second later."""
    from speechssl.audio.devices import choose
    from speechssl.conversion.live_session import LiveSession

    devices = _devices()
    if list_devices:
        return _list(devices, json=json)
    if voice is None:
        raise InputError("no --voice; whose voice is wanted? See `speechssl voice list`")
    if record is not None:
        outputs.check([record], [voice], overwrite=overwrite)
        outputs.check_folder(record)
    with contextlib.ExitStack() as stack:
        if virtual_mic:
            if output is not None:
                raise InputError("--virtual-mic is the output; leave --output out")
            stack.enter_context(virtual_microphone(monitor=monitor))
            output = "pulse"
        known = devices.all()
        microphone = choose(known, input_)
        loudspeakers = [choose(known, output, output=True)]
        if monitor and not virtual_mic:
            loudspeakers.append(choose(known, None, output=True))
        converter, target = _converter(voice, latency / 1000)
        write = stack.enter_context(_recording(record, [target], sign)) if record else None
        session = LiveSession(converter, devices, microphone, list(dict.fromkeys(loudspeakers)), recorded=write)
        stack.callback(session.stop)
        _say_hello(session, microphone, loudspeakers, voice=voice)
        _run(session, seconds)
    _sum_up(session, record, json=json)


def _devices() -> Devices:
    """The back end; tests put another in its place."""
    from speechssl.audio.devices import SoundDevices

    return SoundDevices()


def _list(devices: Devices, *, json: bool) -> None:
    known = devices.all()
    if json:
        return terminal.emit([dataclasses.asdict(one) for one in known])
    if not known:
        raise InputError("no sound device found; connect one")
    rows = [
        (str(one.number), str(one.inputs or ""), str(one.outputs or ""), str(one.sample_rate), _default(one), one.name)
        for one in known
    ]
    terminal.table(rows, ("number", "inputs", "outputs", "Hz", "default", "name"))


def _default(device: Device) -> str:
    return " ".join(name for name, chosen in zip(("input", "output"), device.is_default, strict=True) if chosen)


def _converter(voice: str, latency: float) -> tuple[LiveConverter, MatchingSet]:
    from speechssl.conversion.convert import named_voice
    from speechssl.conversion.live import LiveConverter

    system = models.load(None, models.origins_of([voice]), device="cpu")
    terminal.stage("opening the voice")
    target = named_voice(system, voice)
    return LiveConverter(system, target, latency=latency), target


@contextlib.contextmanager
def _recording(
    path: Path, voices: list[MatchingSet], sign: bool | None
) -> Iterator[Callable[[NDArray[np.float32]], None]]:
    """Writes what is spoken; the file gets its mark and its receipt when everything is over."""
    import torch

    from speechssl import audio
    from speechssl.conversion.live import LiveConverter
    from speechssl.receipts import contents, signing
    from speechssl.signals import Waveform

    signer, rate = receipt.signer(sign, voices), LiveConverter.sample_rate
    with audio.writing(path, rate) as write:
        yield lambda samples: write(Waveform(torch.from_numpy(samples), rate)) if len(samples) else None
    if signer is None:
        signing.drop(path)
        return
    consent = contents.consents(voices, otherwise=receipt.NOBODY)
    signing.issue(path, contents.of_live(voices, consent=consent), signer)


def _say_hello(session: LiveSession, microphone: Device, loudspeakers: list[Device], *, voice: str) -> None:
    terminal.remark(
        f"{microphone.name} ({microphone.sample_rate} Hz) -> {voice} -> {', '.join(one.name for one in loudspeakers)}; "
        f"delay {1000 * session.latency:.0f} ms, processor {100 * session.load:.0f} %. Wear headphones. Ctrl-C ends."
    )
    if session.load > BUSY:
        terminal.remark("the processor has little time left; if sound breaks off, use --latency 168 or more")


def _run(session: LiveSession, seconds: float | None) -> None:
    """Show the meters until it is over; Ctrl-C and SIGTERM end it as they should."""
    gone: list[str] = []
    began, clipped = time.monotonic(), False
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        while seconds is None or time.monotonic() - began < seconds:
            time.sleep(EVERY)
            pipe = session.pipe
            terminal.stage(
                f"in {_bar(pipe.level)} out {_bar(pipe.outlets[0].level)} "
                f"delay {1000 * session.latency:.0f} ms, xruns {pipe.xruns}"
            )
            if session.failure is not None:
                raise session.failure
            if (now := session.mend()) != gone:
                terminal.remark(f"gone: {', '.join(now)}; waiting for it" if now else "back again")
                gone = now
            if not clipped and pipe.converter.clipped > CLIPPED:
                clipped = True
                terminal.remark("the microphone is too loud and clips; turn it down")


def _bar(level: float) -> str:
    """A meter of 60 dB."""
    filled = round(WIDTH * max(0.0, 1 + 20 * math.log10(max(level, 1e-6)) / DB))
    return "#" * filled + "." * (WIDTH - filled)


def _sum_up(session: LiveSession, record: Path | None, *, json: bool) -> None:
    loads = sorted(session.pipe.loads) or [0.0]
    facts = {
        "delay_ms": round(1000 * session.latency, 1),
        "xruns": session.pipe.xruns,
        "load": round(sum(loads) / len(loads), 3),
        **({} if record is None else {"output": str(record)}),
    }
    if json:
        return terminal.emit(facts)
    terminal.remark(f"delay {facts['delay_ms']:.0f} ms, {terminal.count(session.pipe.xruns, 'xrun')}")
    if record is not None:
        terminal.say(record)


@contextlib.contextmanager
def virtual_microphone(*, monitor: bool) -> Iterator[None]:
    """A microphone of PulseAudio or PipeWire that hears what is played on ``pulse`` by this process.

    Raises:
        InputError: another system, or a sound server that does not make one.
    """
    if not sys.platform.startswith("linux") or shutil.which("pactl") is None:
        raise InputError(
            "--virtual-mic needs Linux with pactl (apt-get install pulseaudio-utils); elsewhere install a virtual "
            "cable, such as VB-Cable or BlackHole, and name it with --output"
        )
    named = f"device.description={VIRTUAL}"
    wanted = [
        ["module-null-sink", f"sink_name={SINK}", f"sink_properties={named}"],
        ["module-remap-source", f"master={SINK}.monitor", f"source_name={VIRTUAL}", f"source_properties={named}"],
    ]
    if monitor:
        wanted.append(["module-loopback", f"source={SINK}.monitor"])
    made: list[str] = []
    before = os.environ.get("PULSE_SINK")
    try:
        made += [_pactl("load-module", *one) for one in wanted]
        os.environ["PULSE_SINK"] = SINK
        yield
    finally:
        os.environ.pop("PULSE_SINK", None)
        if before is not None:
            os.environ["PULSE_SINK"] = before
        for number in reversed(made):
            with contextlib.suppress(InputError):
                _pactl("unload-module", number)


def _pactl(*words: str) -> str:
    done = subprocess.run(["pactl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            f"pactl {' '.join(words[:2])}: {done.stderr.strip() or 'failed'}; is the sound server running?"
        )
    return done.stdout.strip()
