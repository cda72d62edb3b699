"""``speechssl app``: the front end in the browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from speechssl.errors import InputError

PASSWORDS = "SPEECHSSL_APP_AUTH"  # keeps passwords out of the list of processes


def app(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="The next free one if it is taken; 0 for any.")] = 7860,
    auth: Annotated[
        Optional[list[str]],  # noqa: UP045  typer evaluates it, on Python 3.10 too
        typer.Option(
            "--auth",
            metavar="USER:PASSWORD",
            help=f"Who may come in, each with voices of their own; also ${PASSWORDS}. Needed for a public --host.",
            show_default=False,
        ),
    ] = None,
    models: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--models",
            metavar="NAMES",
            help="To choose from, the first is the default; commas between. Without it all that doctor names on this "
            "machine's own address, fetched when first chosen; only tiny on a public one.",
            show_default=False,
        ),
    ] = None,
    consent: Annotated[
        bool, typer.Option("--consent/--no-consent", help="Ask for the attestation; without it receipts say so.")
    ] = True,
    watermark: Annotated[
        bool, typer.Option("--watermark/--no-watermark", help="Mark what is made, where Perth is installed.")
    ] = True,
    voices: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--voices", metavar="DIR", help="Stored voices; $SPEECHSSL_VOICES.", show_default=False),
    ] = None,
    megabytes: Annotated[int, typer.Option("--max-megabytes", min=1, help="Of one upload.")] = 100,
    seconds: Annotated[float, typer.Option("--max-seconds", min=1, help="Of a source.")] = 900,
    job_seconds: Annotated[float, typer.Option("--job-seconds", min=1, help="After which a job is ended.")] = 600,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="At once; 0: one a core, two at most.")] = 0,
    waiting: Annotated[int, typer.Option("--queue", min=1, help="Jobs that may wait.")] = 40,
    keep_minutes: Annotated[
        float, typer.Option("--keep-minutes", min=1, help="After which files of an idle session are deleted.")
    ] = 60,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page here.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Serve the front end: convert, verify, units, voices, in the browser and as an API.

    Without --host only this machine reaches it. /health tells the state; Ctrl-C or SIGTERM lets running jobs end first.
    """
    from speechssl.app import service
    from speechssl.app.state import Settings
    from speechssl.conversion.bundles import BUNDLES

    if models is None:
        # whoever reaches a public address should not make it fetch gigabytes
        offered = tuple(BUNDLES) if service.is_local(host) else ("tiny",)
    else:
        offered = tuple(name.strip() for name in models.split(",") if name.strip()) or ("tiny",)
    users = [_pair(text) for text in auth or os.environ.get(PASSWORDS, "").split()]
    settings = Settings(
        voices=voices,
        consent=consent,
        watermark=watermark,
        models=offered,
        device=device,
        megabytes=megabytes,
        source_seconds=seconds,
        job_seconds=job_seconds,
        jobs=jobs,
        waiting=waiting,
        keep_seconds=60 * keep_minutes,
    )
    service.serve(settings, host=host, port=port, auth=users, browser=browser)


def _pair(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon or not user or not password:
        raise InputError("--auth needs USER:PASSWORD")
    return user, password
