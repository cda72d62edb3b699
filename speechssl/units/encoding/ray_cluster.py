"""Encoding on a cluster: a Ray Data pipeline whose processes hold one model each. Records are those of one machine.

The driver plans, journals and writes, as it does without Ray, so exactly-once holds here too; only the encoding goes
out. Recordings that are lost with a process or a node are encoded again on those that are left. Tasks that find their
model in the process are used, not Ray's actors: an actor whose node dies while it starts can wait for ever.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from speechssl import errors
from speechssl.encoders.precision import one_thread
from speechssl.units.encoding import formats
from speechssl.units.encoding.manifest import Entry
from speechssl.units.encoding.workers import Recipe, attempt, ready

if TYPE_CHECKING:
    from speechssl.units.encoding.engine import Work

BATCH = 4  # recordings a process is given at a time: what is repeated if it is lost


def encode_batch(batch: dict[str, Any], recipe: Recipe) -> dict[str, list[Any]]:
    """Results as JSON for entries as JSON, by the model that this process of the cluster holds."""
    with one_thread():
        encoder = ready(recipe)
        results = [formats.line(attempt(encoder, Entry(**json.loads(text)))) for text in batch["entry"]]
    return {"index": list(batch["index"]), "result": results}


def work(recipe: Recipe, num_workers: int, *, gpus: float = 0.0, cpus: float = 1.0) -> Work:
    """Work sent to a cluster.

    Args:
        recipe: codebook and encoder; their files must be where every node can read them.
        num_workers: processes at a time, each of which holds one model and keeps it.
        gpus: of each process; fractions share one (0.25: four models a GPU).
        cpus: of each process.
    Raises:
        InputError: Ray is not installed.
    """
    with errors.importing("ray", purpose="the engine 'ray' ('local' needs nothing)", extra="ray"):
        ray: Any = importlib.import_module("ray")
        dataset: Any = importlib.import_module("ray.data")

    def run(items: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = [{"index": index, "entry": formats.line(vars(entry))} for index, entry in items]
        if not rows:
            return
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        data = dataset.from_items(rows, override_num_blocks=-(-len(rows) // BATCH)).map_batches(
            encode_batch,
            fn_kwargs={"recipe": recipe},
            batch_size=BATCH,
            compute=dataset.TaskPoolStrategy(size=num_workers),
            num_gpus=gpus or None,
            num_cpus=cpus,
            # what was lost with a process or node is done again elsewhere
            max_retries=-1,
        )
        for row in data.iter_rows():
            yield int(row["index"]), json.loads(row["result"])

    return run
