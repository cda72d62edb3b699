"""The service from outside: every endpoint by ``gradio_client``, plain HTTP, and what it must refuse."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import urllib.error
import urllib.request
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers import fetched

from speechssl import audio, cli
from speechssl.app.handlers import speakers, speaking
from speechssl.app.state import Settings, State
from speechssl.receipts import signing
from speechssl.voices import clips

Speech = dict[str, Path]
Serving = Callable[..., contextlib.AbstractContextManager[str]]
PATIENCE = 240  # seconds: a busy machine takes minutes for what takes seconds
CONSENT = "Ada Smith: a test"


@pytest.fixture(scope="module")
def client(address: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(address, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def _file(path: Path) -> Any:
    return handle_file(str(path))


def _samples(path: str | Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


# ---- endpoints


def test_convert_is_byte_for_byte_what_the_command_line_makes(client: Client, speech: Speech, tmp_path: Path) -> None:
    path, facts = client.predict(
        _file(speech["source"]), [_file(speech["reference"])], "", CONSENT, api_name="/convert"
    )  # fmt: skip
    arguments = ["convert", str(speech["source"]), "--reference", str(speech["reference"])]
    assert cli.run([*arguments, "--output", str(tmp_path / "o.wav")]) == 0
    assert _samples(path) == _samples(tmp_path / "o.wav")
    assert signing.check(path).genuine
    assert facts["receipt"]["consent"][0]["who"] == "Ada Smith"
    assert facts["receipt"] == signing.show(path)


def test_convert_to_voices_by_name_and_weight(client: Client, speech: Speech) -> None:
    _, facts = client.predict(
        _file(speech["source"]), None, "eric=0.7, beth=0.3", "", 8, "uniform", 0.9, "-2", "flac", "tiny", "0.8",
        api_name="/convert",
    )  # fmt: skip
    assert [(one["name"], one["share"]) for one in facts["receipt"]["voices"]] == [("eric", 0.7), ("beth", 0.3)]
    expected = {
        "k": 8,
        "converter": "uniform",
        "interpolation": 0.9,
        "pitch": -2.0,
        "tempo": "0.8",
        "loudness": "contour",
    }
    assert facts["receipt"]["settings"] == expected
    assert facts["stretch"] == 1.25


def test_convert_piece_by_piece(client: Client) -> None:
    job = client.submit(_file(clips.clip("ada").path), None, "eric", "", api_name="/convert_stream")
    *pieces, (path, facts) = list(job)
    assert [one["piece"] for _, one in pieces] == list(range(len(pieces)))
    assert len(pieces) >= 3
    assert all(signing.check(piece).genuine for piece, _ in pieces)
    assert sum(one["seconds"] for _, one in pieces) == pytest.approx(facts["seconds"], abs=0.01)
    assert b"".join(_samples(piece) for piece, _ in pieces) == _samples(path)
    assert facts["receipt"]["settings"]["streamed"] is True
    assert signing.check(path).genuine
    with pytest.raises(AppError, match="needs the whole source"):
        client.predict(_file(clips.clip("ada").path), None, "eric", "", 4, "shift", api_name="/convert_stream")


def test_the_list_of_endpoints_describes_every_argument_and_has_its_own_examples(address: str) -> None:
    listed = json.loads(fetched(f"{address}/gradio_api/info", PATIENCE)[1])["named_endpoints"]
    arguments = [(name, one) for name, endpoint in listed.items() for one in endpoint["parameters"]]
    assert len(arguments) > 40
    assert all(re.fullmatch(r"[A-Z0-9'].{7,}\.", one["label"]) for _, one in arguments), arguments
    assert "sample_file" not in json.dumps(listed)
    convert = {one["parameter_name"]: one["example_input"] for one in listed["/convert"]["parameters"]}
    assert convert["source"]["path"] == "recording.wav"
    assert [one["path"] for one in convert["references"]] == ["voice.wav"]


def test_the_examples_of_the_endpoints_run(address: str, speech: Speech, tmp_path: Path) -> None:
    client = Client(address, verbose=False, download_files=str(tmp_path))
    listed = json.loads(fetched(f"{address}/gradio_api/info", PATIENCE)[1])["named_endpoints"]
    for name in ("/convert", "/say"):
        example = listed[name]["description"].split("Example: ")[1]
        example = example.replace("'recording.wav'", repr(str(speech["source"])))
        made = eval(example, {"client": client, "handle_file": _file})
        assert audio.info(made[0]).seconds > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "eric", ""), "source"),
        (("source", "", ""), "Whose voice"),
        (("source", "nobody", ""), "nobody"),
        (("source", "eric=x", ""), "no number"),
        (("source", "eric", "no colon"), "WHO: FOR WHAT"),
    ],
)
def test_convert_says_what_is_wrong(client: Client, speech: Speech, arguments: tuple[Any, ...], message: str) -> None:
    source, voice, consent = arguments
    given = _file(speech["source"]) if source else None
    with pytest.raises(AppError, match=message):
        client.predict(given, None, voice, consent, api_name="/convert")


def test_no_consent_no_clone(client: Client, speech: Speech) -> None:
    with pytest.raises(AppError, match="Attest first"):
        client.predict(_file(speech["source"]), [_file(speech["reference"])], "", "", api_name="/convert")


def test_batch(client: Client, speech: Speech, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as zipped:
        zipped.write(speech["source"], "one.wav")
    made, rows = client.predict(_file(tmp_path / "in.zip"), None, "eric", "", api_name="/batch")
    assert zipfile.ZipFile(made).namelist() == [rows[0]["output"], "results.csv"]


def test_verify_enrol_identify_speakers(client: Client, speech: Speech) -> None:
    found = client.predict([_file(speech["reference"])], _file(speech["source"]), api_name="/verify")
    assert found["accepted"] is False
    assert client.predict("Eric", [_file(speech["reference"])], api_name="/enrol")["new"] == 1
    assert client.predict(_file(speech["reference"]), api_name="/identify")["speaker"] == "Eric"
    assert [one["speaker"] for one in client.predict("", api_name="/speakers")] == ["Eric"]
    assert client.predict("Eric", api_name="/speakers") == []


def test_units_and_back(client: Client, speech: Speech) -> None:
    record = client.predict(_file(speech["source"]), "tiny/100", True, api_name="/units")
    assert record["text"].startswith(f"<unit_{record['units'][0]}>")
    assert record["recording"] == "source.wav"
    assert Path(client.predict(record["text"], "beth", "tiny/100", api_name="/speak_units")).stat().st_size > 1000


def test_voices_are_added_listed_and_removed(client: Client, speech: Speech) -> None:
    assert client.predict(api_name="/voices")["bundled"] == ["ada", "beth", "cleo", "dan", "eric", "finn"]
    made = client.predict("beth2", [_file(speech["other"])], CONSENT, api_name="/add_voice")
    assert made["consents"][0]["purpose"] == "a test"
    assert [one["name"] for one in client.predict(api_name="/voices")["stored"]] == ["beth2"]
    assert client.predict("beth2", "beth3", api_name="/rename_voice")["name"] == "beth3"
    told = client.predict("beth3", "warm", "a, b", '{"pitch": "-2"}', api_name="/describe_voice")
    assert (told["description"], told["tags"], told["settings"]) == ("warm", ["a", "b"], {"pitch": "-2"})
    assert signing.check(client.predict("beth3", api_name="/sample_voice")).genuine
    for bad, said in (("[1]", "no JSON object"), ('{"volume": "11"}', "volume"), ('{"pitch": {}}', "pitch")):
        with pytest.raises(AppError, match=said):
            client.predict("beth3", "", "", bad, api_name="/describe_voice")
    exported = client.predict("beth3", api_name="/export_voice")
    client.predict("beth3", "", api_name="/remove_voice")
    assert client.predict(_file(Path(exported)), "beth2", api_name="/import_voice")["consents"] == made["consents"]
    client.predict("beth2", "", api_name="/remove_voice")
    assert client.predict(api_name="/voices")["stored"] == []
    with pytest.raises(AppError, match="beth2"):
        client.predict("beth2", "", api_name="/remove_voice")


def test_report(client: Client, speech: Speech) -> None:
    assert client.predict([_file(speech["reference"])], api_name="/report")["speech_seconds"] > 5


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_say(client: Client) -> None:
    path, subtitles, facts = client.predict("Good morning. It rains.", None, "eric", "", api_name="/say")
    assert facts["sentences"] == 2
    assert "Good morning." in Path(subtitles).read_text()
    assert signing.check(path).genuine
    with pytest.raises(AppError, match="Write what"):
        client.predict(" ", None, "eric", "", api_name="/say")


def test_every_public_endpoint_is_named_and_described(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]  # type: ignore[index]
    wanted = {"/convert", "/convert_stream", "/batch", "/verify", "/enrol", "/identify", "/speakers", "/calibrate",
              "/units", "/speak_units", "/voices", "/add_voice", "/remove_voice", "/rename_voice", "/export_voice",
              "/import_voice", "/report", "/describe_voice", "/sample_voice"}  # fmt: skip
    assert set(endpoints) - {"/say"} == wanted


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert cli.run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_say_is_byte_for_byte_what_the_command_line_makes(client: Client, speech: Speech, tmp_path: Path) -> None:
    text = "Good morning. It rains."
    path, subtitles, _ = client.predict(
        text, [_file(speech["reference"])], "", CONSENT, 1.2, 0.9, 3, api_name="/say"
    )  # fmt: skip
    arguments = ["say", text, "--reference", str(speech["reference"]), "--speed", "1.2", "--interpolation", "0.9"]
    arguments += ["--seed", "3", "--output", str(tmp_path / "o.wav"), "--subtitles", str(tmp_path / "o.srt")]
    assert cli.run(arguments) == 0
    assert _samples(path) == _samples(tmp_path / "o.wav")
    assert Path(subtitles).read_bytes() == (tmp_path / "o.srt").read_bytes()


def test_units_and_their_sound_are_what_the_command_line_makes(
    client: Client, speech: Speech, tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHSSL_VOICES", str(state.settings.voices))
    record = client.predict(_file(speech["source"]), "tiny/100", False, api_name="/units")
    arguments = ["units", "encode", str(speech["source"]), "--codebook", "tiny/100", "--no-collapse"]
    assert cli.run([*arguments, "--output", str(tmp_path / "units")]) == 0
    (written,) = [
        json.loads(line) for file in (tmp_path / "units").rglob("*.jsonl") for line in file.read_text().splitlines()
        if "units" in json.loads(line)
    ]  # fmt: skip
    assert {name: record[name] for name in ("units", "durations", "start", "end")} == {
        name: written[name] for name in ("units", "durations", "start", "end")
    }
    client.predict("beth4", [_file(speech["other"])], CONSENT, api_name="/add_voice")
    ids = " ".join(map(str, record["units"][:40]))
    spoken = client.predict(ids, "beth4", "tiny/100", api_name="/speak_units")
    arguments = ["units", "decode", ids, "--codebook", "tiny/100", "--voice", "beth4"]
    assert cli.run([*arguments, "--output", str(tmp_path / "o.wav")]) == 0
    assert _samples(spoken) == _samples(tmp_path / "o.wav")
    client.predict("beth4", "", api_name="/remove_voice")


def test_verify_says_what_the_command_line_says(
    client: Client, speech: Speech, capsys: pytest.CaptureFixture[str]
) -> None:
    found = client.predict([_file(speech["reference"])], _file(speech["source"]), api_name="/verify")
    alone = _json(capsys, "verify", str(speech["reference"]), str(speech["source"]))
    assert {**found, "remarks": []} == {**alone, "remarks": []}


def test_calibrate_says_what_is_missing(client: Client, speech: Speech, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as zipped:
        zipped.write(speech["source"], "one.wav")
    with pytest.raises(AppError, match="lies in no folder"):
        client.predict(_file(tmp_path / "one.zip"), api_name="/calibrate")


# ---- HTTP


def test_health(address: str) -> None:
    status, body = fetched(f"{address}/health", PATIENCE)
    assert status == 200
    assert json.loads(body)["status"] == "ok"


def test_plain_http_converts(address: str, speech: Speech) -> None:
    """What the README does with curl."""
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="talk.wav"\r\n\r\n'
    upload = urllib.request.Request(
        f"{address}/gradio_api/upload",
        form + speech["source"].read_bytes() + b"\r\n--x--\r\n",
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    with urllib.request.urlopen(upload, timeout=PATIENCE) as answer:
        place = json.load(answer)[0]
    file = {"path": place, "meta": {"_type": "gradio.FileData"}}
    call = urllib.request.Request(
        f"{address}/gradio_api/call/convert",
        json.dumps({"data": [file, None, "eric", "", 0, "auto", 1, "target", "wav", "tiny", "auto"]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=PATIENCE) as answer:
        event = json.load(answer)["event_id"]
    status, body = fetched(f"{address}/gradio_api/call/convert/{event}", PATIENCE)
    assert status == 200
    lines = body.decode().splitlines()
    assert "event: complete" in lines
    assert json.loads(lines[-2].removeprefix("data: "))[1]["receipt"]["what"].startswith("voice conversion")


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", __file__, str(Path.home()),
     "/proc/self/environ"],
)  # fmt: skip
def test_no_file_of_the_machine_is_reachable(address: str, path: str) -> None:
    status, body = fetched(f"{address}/gradio_api/file={path}", PATIENCE)
    assert status in (403, 404)
    assert b"root:" not in body


def test_a_path_is_no_upload_and_no_address(client: Client, address: str, speech: Speech, state: State) -> None:
    """Neither one of this machine nor one that another session made."""
    path, _ = client.predict(_file(speech["source"]), None, "eric", "", api_name="/convert")
    made = next(state.folder.rglob(Path(path).name))
    receipt = signing.beside(made)
    assert receipt.exists()
    for place in ("/etc/passwd", str(speech["source"]), str(state.store.signer().path), str(made), str(receipt)):
        if place not in (str(made), str(receipt)):
            assert fetched(f"{address}/gradio_api/file={place}", PATIENCE)[0] == 404
        file = {"path": place, "meta": {"_type": "gradio.FileData"}}
        call = json.dumps({"data": [file, "tiny/100", True]}).encode()
        assert _status(f"{address}/gradio_api/call/units", call, "application/json") == 404


def test_uploads_have_a_limit(address: str) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="talk.wav"\r\n\r\n'
    upload = urllib.request.Request(
        f"{address}/gradio_api/upload",
        form + bytes(6 << 20) + b"\r\n--x--\r\n",
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(upload, timeout=PATIENCE)
    assert caught.value.code == 413


def _status(url: str, data: bytes, kind: str) -> int:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, {"Content-Type": kind}), timeout=PATIENCE
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_with_passwords_nobody_else_comes_in_and_users_keep_to_themselves(
    serving: Serving, speech: Speech, tmp_path: Path
) -> None:
    settings = Settings(voices=tmp_path / "voices", speakers=tmp_path / "s.sqlite", watermark=False)
    with serving(State(settings, folder=tmp_path / "w"), auth=[("ada", "secret"), ("eve", "other")]) as place:
        form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\nx\r\n--x--\r\n'
        assert _status(f"{place}/gradio_api/upload", form, "multipart/form-data; boundary=x") == 401
        assert _status(f"{place}/gradio_api/call/voices", b'{"data": []}', "application/json") == 401
        assert fetched(f"{place}/gradio_api/file=/etc/passwd", PATIENCE)[0] in (401, 403)
        assert fetched(f"{place}/health", PATIENCE)[0] == 200
        with pytest.raises(Exception, match=r"(?i)credential|login|auth"):
            Client(place, auth=("ada", "wrong"), verbose=False)
        folder = str(tmp_path / "downloads")
        ada = Client(place, auth=("ada", "secret"), verbose=False, download_files=folder)
        eve = Client(place, auth=("eve", "other"), verbose=False, download_files=folder)
        ada.predict("hers", [_file(speech["other"])], CONSENT, api_name="/add_voice")
        assert [one["name"] for one in ada.predict(api_name="/voices")["stored"]] == ["hers"]
        assert eve.predict(api_name="/voices")["stored"] == []
        with pytest.raises(AppError, match="hers"):
            eve.predict("hers", api_name="/export_voice")


def test_a_full_queue_turns_away_and_the_others_know_their_place(
    serving: Serving, speech: Speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> list[Any]:
        begun.set()
        assert go.wait(PATIENCE)
        return []

    monkeypatch.setattr(speakers, "identify", slow)
    small = State(Settings(waiting=1, jobs=1, voices=tmp_path, speakers=tmp_path / "s"), folder=tmp_path / "w")
    with serving(small) as place:
        clients = [Client(place, verbose=False) for _ in range(3)]
        try:
            first = clients[0].submit(None, api_name="/identify")
            assert begun.wait(PATIENCE)
            second = clients[1].submit(None, api_name="/identify")
            _until(lambda: [one.desc for one in second.status().progress_data or ()] == ["waiting; you are next"])
            with pytest.raises(AppError, match="the queue is full"):
                clients[2].predict(None, api_name="/identify")
            assert clients[2].predict("", api_name="/speakers") == []  # what costs nothing does not wait
        finally:
            go.set()
        assert (first.result(PATIENCE), second.result(PATIENCE)) == ([], [])


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
