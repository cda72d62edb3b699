"""What the handlers share: sentences without folders, one copy of each model, visitors apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechssl.app.state import Cache, Settings, State
from speechssl.errors import InputError


def test_what_is_said_has_no_folder_of_this_machine_and_no_command(state: State) -> None:
    for text, kept in (
        (f"{state.folder}/gradio/{'0' * 64}/my talk.wav is not audio", "my talk.wav is not audio"),
        (f"no voice 'ada' in {state.store.library().folder}; none yet", "no voice 'ada' in this service; none yet"),
        ("nobody in /srv/private/speakers.sqlite with tiny/6", "nobody in speakers.sqlite with tiny/6"),
        ("no voice 'x'. Make it with 'voice add', or convert with one of the package: ada",
         "no voice 'x'. Store it first, or take one of the package: ada"),
        ("see https://huggingface.co/facebook/hubert-base/x", "see https://huggingface.co/facebook/hubert-base/x"),
        ("either/or at 1/2", "either/or at 1/2"),
    ):  # fmt: skip
        assert state.sentence(InputError(text)) == kept


def test_models_are_loaded_once_and_only_those_that_are_offered(state: State) -> None:
    assert state.models.system("tiny") is state.models.system("tiny")
    with pytest.raises(InputError, match="not offered"):
        state.models.system("wavlm-large")


def test_a_full_cache_drops_what_was_used_longest_ago() -> None:
    cache = Cache(2)
    for key in "ab":
        assert cache.get(key, lambda: key, lambda _: 1) == key  # noqa: B023  it runs at once
    assert cache.get("a", lambda: "again", lambda _: 1) == "a"
    cache.get("c", lambda: "c", lambda _: 1)
    assert ["a" in cache, "b" in cache, "c" in cache] == [True, False, True]


def test_visitors_of_a_public_page_share_nothing(tmp_path: Path) -> None:
    public = State(Settings(public=True, voices=tmp_path / "elsewhere"), folder=tmp_path / "work")
    one, other = public.sessions.get("one"), public.sessions.get("other")
    assert one is public.sessions.get("one")
    folders = {public.store.library(session.user).folder for session in (one, other, public.sessions.get(None))}
    assert len(folders) == 3
    assert all(tmp_path / "work" in folder.parents for folder in folders)
