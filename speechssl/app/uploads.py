"""Uploads: into a folder of their own each, within what one visitor and all visitors may keep here."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from speechssl.app.sessions import Sessions
from speechssl.app.state import Settings

CHECKED = 8 << 20  # bytes of an upload between two looks at what is on the disk


class Full(Exception):
    """No room; the text says for whom."""


class Uploads:
    """The endpoint that takes files.

    Args:
        sessions: whose folder takes the files.
        settings: the limits.
    """

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        self.sessions, self.settings = sessions, settings

    async def take(self, request: Request) -> Response:
        """Keep the files of a form, and answer with their paths."""
        from gradio import routes
        from gradio.route_utils import GradioMultiPartParser, MultiPartException

        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return PlainTextResponse("a form (multipart/form-data) with files needed", 400)
        home = self.sessions.folder / request.scope["visitor"].home
        folder = home / f"upload-{secrets.token_hex(16)}"
        upload_id = request.query_params.get("upload_id")
        status = routes.file_upload_statuses if upload_id else None
        try:
            folder.mkdir(parents=True)
            if status is not None:
                status.track(upload_id)
            parser = GradioMultiPartParser(
                request.headers, self._within(request, home), max_files=100, max_fields=0, upload_dir=folder,
                max_file_size=self.settings.megabytes << 20, upload_id=upload_id, upload_progress=status,
            )  # fmt: skip
            made = [_named(folder, one) for _, one in (await parser.parse()).multi_items()]
            return JSONResponse(made) if made else self._refused(folder, 400, "the form holds no file")
        except Full as full:
            return self._refused(folder, 413, str(full))
        except MultiPartException as error:
            if "maximum allowed size" in error.message:
                return self._refused(folder, 413, f"the file is larger than {self.settings.megabytes} MB, the limit")
            return self._refused(folder, 400, f"the form cannot be read ({error.message}); files needed")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return self._refused(folder, 507, "the disk of this service is full; nothing was kept, try later")
            return self._refused(folder, 500, "the file could not be kept; try another name")
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, ClientDisconnect):
                return Response(status_code=400)
            raise
        finally:
            if status is not None and upload_id in status._statuses:
                status.set_done(upload_id)

    def _refused(self, folder: Path, status: int, text: str) -> Response:
        shutil.rmtree(folder, ignore_errors=True)
        return PlainTextResponse(text, status)

    async def _within(self, request: Request, home: Path) -> Any:
        """The body, as long as there is room for it.

        Raises:
            Full: there is none.
        """
        said = request.headers.get("content-length", "")
        coming = int(said) if said.isdecimal() and len(said) < 15 else 0
        unchecked = CHECKED
        async for part in request.stream():
            unchecked += len(part)
            if unchecked >= CHECKED:
                await run_in_threadpool(self._check_room, home, max(coming, len(part)))
                # what came is on the disk by the next time
                coming, unchecked = 0, 0
            yield part

    def _check_room(self, home: Path, more: int) -> None:
        most, most_in_all = self.settings.kept_megabytes, self.settings.kept_megabytes_in_all
        later = f"files are deleted {self.settings.keep_seconds / 60:.0f} minutes after their last use; try again then"
        if bytes_in(home) + more > most << 20:
            raise Full(f"your files here take {most} MB, the limit of one visitor; {later}")
        if bytes_in(self.sessions.folder) + more > most_in_all << 20:
            raise Full(f"all files here take {most_in_all} MB, the limit of this service; {later}")


def _named(folder: Path, file: Any) -> str:
    """Give an upload the name that the client gave it, without what names of files cannot hold."""
    file.file.close()
    kept = Path("".join(c for c in Path(file.filename or "").name if c.isprintable() and c not in '\\:*?"<>|'))
    # names of files have at most 255 bytes
    name = kept.stem.encode()[:180].decode("utf-8", "ignore").lstrip(".") + kept.suffix[:16]
    place = folder / secrets.token_hex(8) / (name or "file")
    place.parent.mkdir()
    os.rename(file.file.name, place)
    return str(place)


def bytes_in(folder: Path) -> int:
    """The bytes of all files in a folder; files that vanish meanwhile count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
