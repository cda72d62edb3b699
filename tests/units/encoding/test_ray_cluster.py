"""A real local Ray cluster of two nodes, one of which is killed: the bytes are those of one machine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from speechssl.units.encoding.encode import encode
from speechssl.units.encoding.workers import Recipe

ray = pytest.importorskip("ray")
# Ray's own modules warn on import and on shutdown
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(550)]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    from ray.cluster_utils import Cluster

    # Ray's processes yield to everything else by default, on a busy machine for ever
    monkeypatch.setenv("RAY_worker_niceness", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.lost = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def nodes() -> int:
    return sum(node["Alive"] for node in ray.nodes())


def test_a_lost_node_costs_nothing(
    cluster: Any, recordings: Path, codebook_file: Path, encoder_file: Path, tmp_path: Path
) -> None:
    recipe = Recipe(str(codebook_file), str(encoder_file), device="cpu")
    # every recording under four names, so that both nodes have work when the first result is back
    rows = [json.loads(line) for line in (recordings / "list.jsonl").read_text().splitlines()]
    source = recordings / "four.jsonl"
    source.write_text("".join(json.dumps({**row, "id": f"{row['path']}-{i}"}) + "\n" for i in range(4) for row in rows))
    encode([source], recipe, tmp_path / "one", form="parquet", block=20)
    assert nodes() == 2

    def kill(_: str) -> None:
        if cluster.lost is not None:
            cluster.remove_node(cluster.lost, allow_graceful=False)
            cluster.lost = None

    two = tmp_path / "two"
    summary = encode([source], recipe, two, form="parquet", block=20, through="ray", num_workers=2, advance=kill)
    # the second part was made by the node that is left; the head takes a while to call the other one dead
    patience = time.monotonic() + 250
    while nodes() > 1 and time.monotonic() < patience:
        time.sleep(0.5)
    assert nodes() == 1
    assert (summary.encoded, summary.failed) == (24, 4)
    for name in ("part-00000.parquet", "part-00001.parquet", "failed.jsonl", "meta.json"):
        assert (tmp_path / "one" / name).read_bytes() == (two / name).read_bytes()
