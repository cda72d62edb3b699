"""The services that are attacked, in this process, one of each kind; half a second of speech is enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attack_service import PATIENCE, Service, serving
from helpers import GRADIO_WARNS, ignore_warnings, speech

__all__ = ["speech"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ignore_warnings(items, Path(__file__).parent, GRADIO_WARNS)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both services keep their files: Gradio reads the place from the environment, of which a process has one."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(autouse=True)
def _own_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(root / "gradio"))


@pytest.fixture(scope="session")
def open_service(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Service]:
    """A service without a login."""
    pytest.importorskip("gradio", reason="the page needs Gradio")
    with serving(tmp_path_factory.mktemp("open"), root) as service:
        yield service


@pytest.fixture(scope="session")
def address(open_service: Service) -> str:
    """Of the service without a login."""
    return open_service.address


@pytest.fixture(scope="session")
def guarded_service(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[tuple[Service, Any, Any]]:
    """A service with a login and a name of its own, and the clients of two users who signed in."""
    pytest.importorskip("gradio", reason="the page needs Gradio")
    import httpx

    users = [("ada", "secret"), ("eve", "other")]
    with serving(
        tmp_path_factory.mktemp("guarded"), root, auth=users, served=("127.0.0.1", "speech.example")
    ) as service:
        clients = []
        for user, password in users:
            clients.append(httpx.Client(timeout=PATIENCE))
            given = {"username": user, "password": password}
            assert clients[-1].post(f"{service.address}/login", data=given).status_code == 200
        yield service, *clients
        for client in clients:
            client.close()


@pytest.fixture(scope="session")
def guarded(guarded_service: tuple[Service, Any, Any]) -> str:
    """The address of the service with a login."""
    return guarded_service[0].address
