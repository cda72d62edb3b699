"""No parameter of any endpoint is a path: what is there and what is not there get the same answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs Gradio")

from speechssl.app.handlers import targets, units
from speechssl.app.refusals import Refused
from speechssl.checkpoints import PACKAGED
from speechssl.voices import clips

BOOK = next(iter(sorted(PACKAGED.rglob("*codebook*.safetensors"))), PACKAGED / "tiny" / "encoder.safetensors")
THERE = ["/etc/passwd", "/etc", str(BOOK), "../../../../../../etc/passwd", f"file://{BOOK}", "/etc/hostname"]


def values(parameters: list[dict[str, Any]], path: str) -> list[Any]:
    """The path for each text, nothing for a file, the default for a number."""
    return [
        None
        if "File" in one["component"]
        else path
        if one["type"].get("type") == "string"
        else one["parameter_default"]
        for one in parameters
    ]


def test_every_endpoint_answers_a_path_as_it_answers_nonsense(open_service: Any) -> None:
    """Ten paths each: five that are there, and beside each of them one that is not."""
    found = open_service.client.get(f"{open_service.address}/gradio_api/info").json()["named_endpoints"]
    assert len(found) > 15
    for name, facts in found.items():
        for there in THERE[:5] if any(one["type"].get("type") == "string" for one in facts["parameters"]) else ():
            gone = there[:-1] + ("x" if there[-1] != "x" else "y")
            said = []
            for path in (there, gone):
                answer = open_service.call(name.lstrip("/"), *values(facts["parameters"], path))
                said.append(
                    re.sub(r"\d+\.\d+", "0", answer.text).replace(path, "PATH").replace(Path(path).name, "NAME")
                )
            assert said[0] == said[1], (name, there)
            assert "bytes)" not in said[0]
            assert "root:" not in said[0]


@pytest.mark.parametrize("path", [*THERE, "tiny/100/../100", "", "tiny"])
def test_codebooks_are_names_of_a_list(path: str) -> None:
    nothing: Any = None
    with pytest.raises(Refused, match=r"not offered here; one of tiny/100") as caught:
        units.speak(nothing, nothing, nothing, lambda *_: None, "1 2", f"{targets.BUNDLED}eric", codebook=path)
    assert caught.value.field == "codebook"
    with pytest.raises(Refused, match="not offered here"):
        units.encode(nothing, nothing, nothing, clips.clip("eric", "sentence").path, codebook=path)


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hostname"])
def test_a_file_is_one_that_was_uploaded(open_service: Any, path: str) -> None:
    given = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for name, sent in (("units", [given, "tiny/500", True]), ("import_voice", [given, "x"]), ("report", [[given]])):
        assert "is no file that you uploaded here" in open_service.said(name, *sent)
    assert open_service.client.get(f"{open_service.address}/gradio_api/file={path}").status_code == 404


def test_the_codebook_of_the_walk_is_there() -> None:
    assert BOOK.is_file()
    assert Path("/etc").is_dir()
