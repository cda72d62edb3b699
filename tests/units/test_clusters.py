"""A real local Ray cluster of two nodes, one of which is killed: the bytes are those of one machine."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from speechssl.units.encoding import encode
from speechssl.units.workers import Recipe

ray = pytest.importorskip("ray")
# Ray's own modules warn on import and on shutdown
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(550)]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    from ray.cluster_utils import Cluster

    # Ray's processes yield to everything else by default, on a busy machine for ever
    monkeypatch.setenv("RAY_worker_niceness", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    made.lost = made.add_node(num_cpus=2)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_lost_node_costs_nothing(
    cluster: Any, recordings: Path, codebook_file: Path, encoder_file: Path, tmp_path: Path
) -> None:
    recipe = Recipe(str(codebook_file), str(encoder_file), device="cpu")
    source = recordings / "list.jsonl"
    encode([source], recipe, tmp_path / "one", form="parquet", block=7)
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2

    def kill() -> None:
        time.sleep(4)
        cluster.remove_node(cluster.lost, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = encode([source], recipe, tmp_path / "two", form="parquet", block=7, through="ray", num_workers=2)
    killer.join()
    assert (summary.encoded, summary.failed) == (6, 1)
    assert len([node for node in ray.nodes() if node["Alive"]]) == 1
    for name in ("part-00000.parquet", "failed.jsonl", "meta.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    # and goes on with the node that is left
    again = encode([source], recipe, tmp_path / "three", form="parquet", block=2, through="ray", num_workers=1)
    assert (again.encoded, again.failed) == (6, 1)
