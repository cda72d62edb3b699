"""``speechssl app``: the front end in the browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from speechssl.app.state import Settings
from speechssl.cli import terminal
from speechssl.cli.options import Device, examples
from speechssl.errors import InputError

PASSWORDS = "SPEECHSSL_APP_AUTH"  # keeps passwords out of the list of processes
DEFAULTS = Settings()
EXAMPLES = examples(
    "app --browser",
    "app --models tiny,wavlm-large",
    "app --host 0.0.0.0 --auth ada:secret --max-megabytes 20",
)

Host: TypeAlias = Annotated[
    str, typer.Option("--host", help="Address to listen on. The default can only be reached from this machine.")
]
Port: TypeAlias = Annotated[
    int,
    typer.Option(
        "--port",
        "-p",
        min=0,
        max=65_535,
        help="Port to listen on; the next free one if it is taken, any free one for 0.",
    ),
]
PublicName: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--public-name",
        metavar="NAME",
        help="Name under which browsers reach the service, such as that of a proxy: example.org. Requests for "
        "names other than this, --host and localhost are refused; repeat the option for several names.",
    ),
]
Auth: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--auth",
        metavar="USER:PASS",
        help="User who may log in, with voices of their own; give the option once for each user. A public --host needs "
        f"it. Default: ${PASSWORDS} with spaces between users.",
    ),
]
Models: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--models",
        metavar="NAMES",
        help="Models offered, separated by commas; the first is the default. If omitted: all models on localhost "
        "(downloaded on first use), only tiny on a public address.",
    ),
]
Consent: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--consent/--no-consent",
        help="Ask users to attest that they may use a voice. Without it, receipts say that nobody was asked.",
    ),
]
Watermark: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--watermark/--no-watermark",
        help="Put an inaudible watermark into everything made, if the extra `watermark` is installed.",
    ),
]
Stored: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--voices", metavar="DIR", help="Folder of stored voices. Default: $SPEECHSSL_VOICES, else your data folder."
    ),
]
Megabytes: TypeAlias = Annotated[
    int, typer.Option("--max-megabytes", min=1, help="Largest upload that is accepted, in megabytes.")
]
Kept: TypeAlias = Annotated[
    int,
    typer.Option("--max-kept", min=1, help="Uploads and results that one user or address may keep here, in megabytes."),
]
Seconds: TypeAlias = Annotated[
    float, typer.Option("--max-seconds", min=1, help="Longest source recording that is accepted, in seconds.")
]
JobSeconds: TypeAlias = Annotated[
    float, typer.Option("--job-seconds", min=1, help="Time limit of one job in seconds; it is then stopped.")
]
Jobs: TypeAlias = Annotated[
    int, typer.Option("--jobs", min=0, help="Conversions run in parallel. 0 means one per core, at most two.")
]
Live: TypeAlias = Annotated[
    int,
    typer.Option("--live", min=0, help="People who speak live at once. 0 means one per core, with one core for jobs."),
]
LiveMinutes: TypeAlias = Annotated[
    float, typer.Option("--live-minutes", min=1, help="Minutes after which a live conversion is ended.")
]
Queue: TypeAlias = Annotated[
    int, typer.Option("--queue", min=1, help="Jobs that may wait in the queue; more are turned away.")
]
KeepMinutes: TypeAlias = Annotated[
    float, typer.Option("--keep-minutes", min=1, help="Minutes until the files of an idle session are deleted.")
]
Browser: TypeAlias = Annotated[
    bool, typer.Option("--browser/--no-browser", help="Open the page in the browser of this machine.")
]


def app(
    host: Host = "127.0.0.1",
    port: Port = 7860,
    public_name: PublicName = None,
    auth: Auth = None,
    models: Models = None,
    consent: Consent = True,
    watermark: Watermark = True,
    voices: Stored = None,
    megabytes: Megabytes = DEFAULTS.megabytes,
    kept: Kept = DEFAULTS.kept_megabytes,
    seconds: Seconds = DEFAULTS.source_seconds,
    job_seconds: JobSeconds = DEFAULTS.job_seconds,
    jobs: Jobs = DEFAULTS.jobs,
    live: Live = DEFAULTS.live,
    live_minutes: LiveMinutes = DEFAULTS.live_seconds / 60,
    waiting: Queue = DEFAULTS.waiting,
    keep_minutes: KeepMinutes = DEFAULTS.keep_seconds / 60,
    browser: Browser = False,
    device: Device = "auto",
) -> None:
    """Serve the page in the browser, and its API: convert, live, speak, verify, units, voices.

    Without --host only this machine can reach the service. /health reports its state. Ctrl-C or SIGTERM lets running
    jobs finish first.
    """
    named = tuple(name.strip() for name in (models or "").split(",") if name.strip())
    _check_models(named)
    users = [_pair(text) for text in auth or os.environ.get(PASSWORDS, "").split()]
    from speechssl.app import server  # its libraries are for this command alone
    from speechssl.conversion.bundles import BUNDLES

    # strangers must not make a public service download gigabytes
    usual = tuple(BUNDLES) if models is None and server.is_local(host) else ("tiny",)
    settings = Settings(
        voices=voices,
        consent=consent,
        watermark=watermark,
        models=named or usual,
        device=device,
        megabytes=megabytes,
        kept_megabytes=kept,
        kept_megabytes_in_all=5 * kept,
        source_seconds=seconds,
        job_seconds=job_seconds,
        jobs=jobs,
        live=live,
        live_seconds=60 * live_minutes,
        waiting=waiting,
        keep_seconds=60 * keep_minutes,
    )
    terminal.settings.progress.close()  # the server says itself where it is, and serves for days
    server.serve(settings, host=host, port=port, auth=users, browser=browser, public_names=public_name or ())


def _check_models(names: tuple[str, ...]) -> None:
    """Refuse names of no models, which a visitor would meet otherwise."""
    from speechssl.conversion.bundles import BUNDLES
    from speechssl.encoders import HUB_NAMES

    for name in names:
        is_elsewhere = "/" in name or ":" in name or Path(name).exists()
        if not (name in BUNDLES or name in HUB_NAMES or is_elsewhere):
            known = ", ".join({**BUNDLES, **HUB_NAMES})
            raise InputError(
                f"--models: no model {name!r}; one of {known}, a Hugging Face id, a folder or a file needed"
            )


def _pair(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon or not user or not password:
        raise InputError("--auth needs USER:PASSWORD")
    return user, password
