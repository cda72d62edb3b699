"""What Gradio would keep for ever: states of sessions, results that nobody fetched, names of files."""

from __future__ import annotations

from typing import Any

from gradio import routes
from gradio.state_holder import StateHolder

MOST_TOKENS = 10_000  # logins that are remembered; an older one has to sign in again


class _Nothing(dict[int, Any]):
    """Takes no entry."""

    def __setitem__(self, key: int, value: Any) -> None:
        pass

    def __missing__(self, key: int) -> dict[str, Any]:
        return {}


class _Light(StateHolder):  # type: ignore[misc]
    """States of sessions without a description of the whole page in each, a megabyte; only deep links read it."""

    def __getitem__(self, key: str) -> Any:
        found = super().__getitem__(key)
        if not isinstance(found.config_values, _Nothing):
            found.config_values = _Nothing()
        return found


def make_light(gradio: Any) -> None:
    """Keep small states of sessions in this application."""
    gradio.state_holder = _Light()
    gradio.state_holder.set_blocks(gradio.get_blocks())


def forget(gradio: Any, key: str) -> None:
    """Drop everything of a session that ended."""
    queue, blocks, states = gradio.get_blocks()._queue, gradio.get_blocks(), gradio.state_holder
    for kept in (states.session_data, states.time_last_used, queue.pending_messages_per_session,
                 queue.pending_event_ids_session, blocks.pending_streams, blocks.pending_diff_streams):  # fmt: skip
        kept.pop(key, None)


def tidy(gradio: Any) -> None:
    """Drop names of files, progress of uploads that are done, and the oldest logins."""
    for names in gradio.get_blocks().temp_file_sets:
        names.clear()
    for upload in [one for one, status in list(routes.file_upload_statuses._statuses.items()) if status.is_done]:
        routes.file_upload_statuses.stop_tracking(upload)
    for token in list(gradio.tokens)[: max(0, len(gradio.tokens) - MOST_TOKENS)]:
        gradio.tokens.pop(token, None)
