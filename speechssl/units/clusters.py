"""Encoding on a cluster: a Ray Data pipeline whose actors hold one model each. Records are those of one machine.

The driver plans, journals and writes, as it does without Ray, so exactly-once holds here too; only the encoding goes
out. Ray starts lost actors again on the nodes that are left, and sends their recordings to others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from speechssl.errors import InputError
from speechssl.units import formats
from speechssl.units.manifest import Entry
from speechssl.units.workers import Recipe, attempt

if TYPE_CHECKING:
    from speechssl.units.engine import Work

BATCH = 4  # recordings an actor is given at a time: what is repeated if it is lost


class Actor:
    """One model in one process of a cluster."""

    def __init__(self, recipe: Recipe) -> None:
        import torch

        # sums are then added up in the same order as on one machine
        torch.set_num_threads(1)
        self._encoder = recipe.make()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Results as JSON for entries as JSON."""
        results = [formats.line(attempt(self._encoder, Entry(**json.loads(text)))) for text in batch["entry"]]
        return {"index": list(batch["index"]), "result": results}


def work(recipe: Recipe, num_actors: int, *, gpus: float = 0.0, cpus: float = 1.0) -> Work:
    """Work sent to a cluster.

    Args:
        recipe: codebook and encoder; their files must be where every node can read them.
        num_actors: models held at a time.
        gpus: of each actor; fractions share one (0.25: four models a GPU).
        cpus: of each actor.
    Raises:
        InputError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("the engine 'ray' needs Ray: `pip install speechssl[ray]`, or use --engine local") from None

    def run(items: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = [{"index": index, "entry": formats.line(vars(entry))} for index, entry in items]
        if not rows:
            return
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // BATCH)).map_batches(
            Actor,
            fn_constructor_args=(recipe,),
            batch_size=BATCH,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=num_actors),
            num_gpus=gpus or None,
            num_cpus=cpus,
            # an actor or node that is lost costs time, never the run
            max_restarts=-1,
            max_task_retries=-1,
        )
        for row in data.iter_rows():
            yield int(row["index"]), json.loads(row["result"])

    return run
