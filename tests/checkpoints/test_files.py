"""Files of ours: what is saved comes back, and what is damaged, foreign or dangerous is refused with a sentence."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from speechssl import checkpoints
from speechssl.errors import CheckpointError

HEADER = {"kind": "voice", "origin": "tiny/6", "numbers": [1, 2.5, None], "name": "Zoë"}


def tensors() -> dict[str, Tensor]:
    return {"keys": torch.arange(12.0).reshape(3, 4), "half": torch.ones(5).half(), "count": torch.tensor(3)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return checkpoints.save(tmp_path / "anna.safetensors", tensors(), HEADER)


# ------------------------------------------------------------------------------------------------- saving and loading


DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int8, torch.uint8, torch.bool]
NAMES = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda n: n != "__metadata__"
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=25)
@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3)), max_size=4),
    st.dictionaries(st.text(), JSON, max_size=4),
)
def test_save_then_load_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, Any], facts: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("identity") / "file.safetensors"
    written = {name: (torch.randn(shape) * 3).to(dtype) for name, (dtype, shape) in shapes.items()}
    header = {key: value for key, value in facts.items() if key not in ("sha256", "format")} | {"kind": "codebook"}
    checkpoints.save(path, written, header)
    read = checkpoints.load(path, kind="codebook")
    assert read.header | header == read.header
    assert set(read.header) - set(header) == {"format", "sha256"}
    assert read.tensors.keys() == written.keys()
    for name, tensor in written.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert torch.equal(read.tensors[name], tensor)
    assert checkpoints.peek(path) == read.header


def test_the_fingerprint_names_the_content_not_the_file(file: Path, tmp_path: Path) -> None:
    print_ = checkpoints.fingerprint(file)
    assert print_ == checkpoints.load(file, kind="voice").fingerprint
    assert len(print_) == 16
    again = checkpoints.save(tmp_path / "other.safetensors", tensors(), HEADER)
    assert checkpoints.fingerprint(again) == print_
    changed = [
        checkpoints.save(tmp_path / "a.safetensors", tensors() | {"half": torch.zeros(5).half()}, HEADER),
        checkpoints.save(tmp_path / "b.safetensors", tensors(), HEADER | {"name": "Eve"}),
        checkpoints.save(tmp_path / "c.safetensors", tensors() | {"half": torch.ones(5)}, HEADER),
        checkpoints.save(tmp_path / "d.safetensors", tensors() | {"keys": torch.arange(12.0).reshape(4, 3)}, HEADER),
    ]
    assert len({print_, *map(checkpoints.fingerprint, changed)}) == 5


def test_the_fingerprint_of_a_foreign_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"abc")
    assert checkpoints.fingerprint(path) == hashlib.sha256(b"abc").hexdigest()[:16]
    with pytest.raises(CheckpointError, match="cannot read"):
        checkpoints.fingerprint(tmp_path / "absent")


def test_saving_replaces_and_leaves_nothing_else(file: Path) -> None:
    checkpoints.save(file, {"b": torch.zeros(2, 3).T}, {"kind": "voice"})
    assert torch.equal(checkpoints.load(file, kind="voice").tensors["b"], torch.zeros(3, 2))
    assert os.listdir(file.parent) == [file.name]


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path / "a" / "b" / "c.safetensors", tensors(), HEADER)
    assert checkpoints.peek(path)["name"] == "Zoë"


@pytest.mark.parametrize(
    "header", [{}, {"kind": ""}, {"kind": 3}, {"kind": "x", "bad": object()}, {"kind": "x", "n": float("nan")}]
)
def test_a_header_without_kind_or_json_is_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="its header"):
        checkpoints.save(tmp_path / "a.safetensors", {}, header)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------- what is refused


def test_another_kind_is_refused(file: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"anna\.safetensors is a checkpoint of kind 'voice'; .*'encoder' is needed"
    ):
        checkpoints.load(file, kind="encoder")


def test_any_truncation_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for length in {*range(0, len(whole), 11), 1, 7, 8, 9, len(whole) - 1}:
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"anna\.safetensors"):
            checkpoints.load(file, kind="voice")
    file.write_bytes(whole[: len(whole) - 5])
    with pytest.raises(CheckpointError, match=rf"is truncated or damaged: {len(whole) - 5} bytes"):
        checkpoints.load(file, kind="voice")


def test_any_edited_byte_is_refused(file: Path) -> None:
    """In the length, the names, the facts and the numbers; every seventh here, all of them when this was written."""
    whole = file.read_bytes()
    for place in {*range(8), *range(8, len(whole), 7), len(whole) - 1}:
        edited = bytearray(whole)
        edited[place] ^= (0x01, 0x20, 0x80)[place % 3]
        file.write_bytes(edited)
        with pytest.raises(CheckpointError, match=r"anna\.safetensors"):
            checkpoints.load(file, kind="voice")


def test_verification_can_be_asked_for_or_left_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = bytearray(file.read_bytes())
    edited[-1] ^= 1
    file.write_bytes(edited)
    assert checkpoints.load(file, kind="voice", verify=False).kind == "voice"
    monkeypatch.setattr(checkpoints.files, "VERIFY_LIMIT", 10)
    assert checkpoints.load(file, kind="voice").kind == "voice"
    with pytest.raises(CheckpointError, match="changed or damaged after it was written"):
        checkpoints.load(file, kind="voice", verify=True)


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"{}", b"\x00" * 100, b"hello world, this is a text file\n" * 9, bytes(range(256))]
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is .*safetensors file"):
        checkpoints.peek(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for read in (lambda p: checkpoints.load(p, kind="voice"), checkpoints.peek, checkpoints.load_pickle_tensors):
        with pytest.raises(CheckpointError, match="does not exist"):
            read(tmp_path / "absent.safetensors")
        with pytest.raises(CheckpointError, match="is a folder"):
            read(tmp_path)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "hf.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="not one of speechssl"):
        checkpoints.load(tmp_path / "hf.safetensors", kind="encoder")
    save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="not one of speechssl"):
        checkpoints.peek(tmp_path / "bare.safetensors")


@pytest.mark.parametrize(
    "header", ["", "[]", "{}", '{"kind": 1, "format": 1, "sha256": ""}', '{"kind": "a", "format": "1", "sha256": ""}']
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: str) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors", metadata={"speechssl": header})
    with pytest.raises(CheckpointError, match="damaged header"):
        checkpoints.peek(tmp_path / "x.safetensors")


def test_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    header = json.dumps({"kind": "voice", "format": 2, "sha256": "0" * 64})
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors", metadata={"speechssl": header})
    with pytest.raises(CheckpointError, match=r"has format 2; .*update speechssl"):
        checkpoints.load(tmp_path / "x.safetensors", kind="voice")


# ------------------------------------------------------------------------------------------------- tensors to network


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_state_goes_into_the_network_and_float16_becomes_its_type() -> None:
    source, target = network(), network()
    source[0].weight.data.fill_(0.5)
    checkpoints.load_state(
        target, {k: v.half() if v.is_floating_point() else v for k, v in source.state_dict().items()}, source="a"
    )
    assert target[0].weight.dtype == torch.float32
    assert (target[0].weight == 0.5).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, r"model\.pt does not fit Sequential: 6 of 7 entries fit; 1 missing: 0\.bias\."),
        ({"2.bias": torch.zeros(1)}, r"7 of 7 entries fit; 1 unexpected: 2\.bias\."),
        ({"0.weight": torch.zeros(4, 2)}, r"1 of another shape: 0\.weight \(4, 2\) instead of \(4, 3\)"),
        ({f"new.{i}": torch.zeros(1) for i in range(9)}, r"9 unexpected: new\.0, .*new\.4 and 4 more"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(change: dict[str, Any], message: str) -> None:
    target = network()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    state = {name: torch.full_like(value, 7) for name, value in before.items()} | change
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load_state(target, state, source="model.pt")
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


# ----------------------------------------------------------------------------------------------------------- full disk


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _raise(error: BaseException) -> Any:
    def raising(*_: Any, **__: Any) -> None:
        raise error

    return raising


def test_a_full_disk_keeps_the_old_file_and_leaves_no_other(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()
    monkeypatch.setattr(os, "replace", _raise(FULL))
    with pytest.raises(CheckpointError, match=r"cannot write .*No space left.*free some space"):
        checkpoints.save(file, {"x": torch.zeros(9)}, HEADER)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits there")
def test_a_write_that_really_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """The kernel ends the write after 100 kB, as a full disk would; Python ignores the signal that comes with it."""
    import resource

    path = tmp_path / "big.safetensors"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CheckpointError, match=rf"cannot write {path}: .*nothing was left behind"):
            checkpoints.save(path, {"x": torch.zeros(1_000_000)}, HEADER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", _raise(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path / "a.safetensors", tensors(), HEADER)
    assert not list(tmp_path.iterdir())


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write .*choose another place"):
        checkpoints.save(tmp_path / "file" / "a.safetensors", tensors(), HEADER)


def test_what_is_saved_is_as_readable_as_any_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = checkpoints.save(tmp_path / "m.safetensors", {"a": torch.zeros(2)}, {"kind": "voice"})
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
