"""Exact cosine nearest neighbours in bounded memory: blocked matrix products find candidates, float64 decides.

Distances and their order are defined once, in float64, by ``cosine_distances``: the distance of a query and a key is a
pure function of the two vectors, so exact copies tie exactly, and ties go to the lower index. The products that look
at every key are float32, or bfloat16 where the processor multiplies it natively, with a bound on how far they can be
off (``error_bound``); a key that could still be among the k nearest under that bound is measured in float64, and no
other. So the result is exact, whatever the products round.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechssl.encoders import rounding
from speechssl.encoders.rounding import HALF, SINGLE
from speechssl.errors import InputError

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Keys: TypeAlias = Tensor | NDArray[Any]

BLOCK_KEYS = 2048  # keys per product: a block of 1024 float32 numbers each and its products stay in the L3 cache
ONE_BLOCK = 1 << 21  # products, 8 MB, up to which all keys are one block where there is no fast bfloat16
FIRST_KEYS = 512  # keys of the first product
BLOCK_QUERIES = 2048  # queries per pass over the keys: enough that reading the keys costs little beside the products
BLOCK_PAIRS = 128  # pairs measured at a time, 1 MB of 1024 float64 numbers each
GROUP = 16  # keys whose best product is looked at before they are looked at one by one
MOST_WAITING = 1 << 20  # candidates kept before they are measured, 24 MB
CROWDED = 1 / 64  # above this share of candidates bfloat16 cannot tell keys apart, and float32 takes over

STRIPE_KEYS = 8192  # keys for which a thread of its own is worth while
MOST_WORKERS = 8  # threads, of up to 50 MB each
WORTH_THREADS = 1e8  # products of single numbers
LOWEST_NORM, HIGHEST_NORM = 1e-15, 1e15  # between these a sum of squares neither vanishes nor overflows in float32


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest keys of every query, nearest first, equal distances by index.

    Args:
        indices: (N, k) int64 rows of the keys.
        distances: (N, k) float64 cosine distances, 0 to 2.
    """

    indices: Tensor
    distances: Tensor

    def __len__(self) -> int:
        return int(self.indices.shape[0])

    @property
    def k(self) -> int:
        """Neighbours per query."""
        return int(self.indices.shape[1])

    def first(self, k: int) -> Neighbours:
        """The k nearest of these."""
        return Neighbours(self.indices[:, :k], self.distances[:, :k])


def nearest(queries: Tensor, keys: Keys, *, k: int) -> Neighbours:
    """The k nearest keys of every query by cosine distance, exactly.

    Args:
        queries: (N, D) floating point, N >= 1, no frame of norm 0.
        keys: (M, D) floating point tensor or array, float16 or float32; may be a memory map: it is read block by block
            and never copied whole. M >= k, no frame of norm 0.
        k: neighbours per query, >= 1.
    Raises:
        InputError: k below 1 or above M, other shapes, or frames of norm 0 or not finite.
    """
    _check(queries, keys, k)
    use_half = rounding.has_fast_bfloat16()
    with _workers(len(queries), keys, k) as (run, stripes):
        parts = [
            _nearest_of(list(run(_Search(prepared, keys, k, use_half, stripe).run for stripe in stripes)))
            for prepared in map(_Queries, _query_blocks(queries, k))
        ]
    return Neighbours(torch.cat([part.indices for part in parts]), torch.cat([part.distances for part in parts]))


def cosine_distances(first: Floats, second: Floats, *, squares: Floats | None = None) -> Floats:
    """1 - cos between rows of two (C, D) float64 arrays, the definition every result here is measured by.

    Each row is summed by itself in NumPy's fixed pairwise order, so the value depends on the two vectors only, and is
    exactly 0 for a vector and itself. ``squares`` (C,) are those sums of the first with itself, where they are known.
    """
    dots = (first * second).sum(axis=1)
    squares = (first * first).sum(axis=1) if squares is None else squares
    return 1.0 - np.minimum(dots / np.sqrt(squares * (second * second).sum(axis=1)), 1.0)


def error_bound(dim: int, products: str, *, loss: Tensor | float = HALF) -> Any:
    """How far a product of ``nearest`` can be from the cosine, for vectors of ``dim`` numbers.

    With u the unit roundoff of float32 and g = dim u / (1 - dim u), a sum of dim products in any order is off by at
    most g |q| |k| (Higham 2002, section 3.1), and q, k are of norm 1 here up to g / 2 + 3 u, from their own sum of
    squares, root and division. Together 1.5 g + 8 u, to first order; 2 g + 16 u covers the rest. bfloat16 moves q by
    ``loss`` and k by at most its unit roundoff v, so the product by v + loss more, to first order. It rounds the
    product once more, by at most v times it, which is left to the caller.

    Args:
        dim: numbers per vector, D.
        products: ``"float32"`` or ``"bfloat16"``.
        loss: norms of what rounding to bfloat16 took from the queries, (N,) or one number.
    """
    g = dim * SINGLE / (1 - dim * SINGLE)
    single = 2 * g + 16 * SINGLE
    return single + 1.02 * (HALF + loss) if products == "bfloat16" else single


class _Queries:
    """A block of queries (N, D): as they are in float64, and of norm 1 in float32 and bfloat16."""

    def __init__(self, queries: Tensor) -> None:
        self.exact: Floats = queries.double().numpy()
        self.squares: Floats = (self.exact * self.exact).sum(axis=1)
        self.single = torch.from_numpy(self.exact / np.sqrt(self.squares)[:, None]).float()
        self.bound = error_bound(self.single.shape[1], "float32")

    @cached_property
    def half(self) -> Tensor:
        """In bfloat16; not made where the processor has no fast products of it."""
        return self.single.bfloat16()

    @cached_property
    def half_bound(self) -> Tensor:
        """What rounding the queries really cost, which is less than half of what it could."""
        loss = torch.linalg.vector_norm(self.single.double() - self.half.double(), dim=1)
        return error_bound(self.single.shape[1], "bfloat16", loss=loss)

    def __len__(self) -> int:
        return len(self.exact)


class _Search:
    """A block of queries against a stripe of the keys, in two steps: candidates by rounded products, then distances."""

    def __init__(self, queries: _Queries, keys: Keys, k: int, use_half: bool, stripe: range) -> None:
        self._queries, self._keys, self._k, self._half, self._stripe = queries, keys, k, use_half, stripe
        # of rounded products, negative because near is low, and of distances
        self._rounded, self._best = _Best(len(queries), k), _Best(len(queries), k)
        self._waiting: list[tuple[Integers, Integers, Floats]] = []

    def run(self) -> _Best:
        # the first, in float32 and with nothing to leave out, is small, unless it can be the only one
        length = len(self._stripe)
        alone = not self._half and len(self._queries) * length <= ONE_BLOCK
        first = self._stripe.start + (length if alone else min(max(FIRST_KEYS, self._k), length))
        width = max(BLOCK_KEYS, first - self._stripe.start)
        buffer = torch.empty(width, self._queries.single.shape[1])
        edges = [self._stripe.start, *range(first, self._stripe.stop, width), self._stripe.stop]
        for start, stop in itertools.pairwise(edges):
            block = buffer[: stop - start]
            _fill_unit(block, self._keys, start)
            row, column, product = self._candidates(block)
            found = row.numpy(), column.numpy() + start, product.double().numpy()
            if alone:
                self._waiting.append(found)
            else:
                self._keep(*found)
        self._settle()
        return self._best

    def _floor(self) -> Tensor:
        """(N,) float64: the cosine of the k-th nearest key is at least this."""
        return torch.from_numpy(
            np.maximum(-self._rounded.last - self._queries.bound, 1.0 - self._best.last - self._queries.bound)
        )

    def _candidates(self, block: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key of the block and rounded product (C,) of all pairs that may be among the k nearest."""
        if self._half and self._rounded.is_full:
            found = self._candidates_of_half(block)
            if found is not None:
                return found
            self._half = False
        products = self._queries.single @ block.T
        if self._rounded.is_full:
            lowest = self._floor() - self._queries.bound
        else:
            lowest = _reached_by(products, self._k).double() - 2 * self._queries.bound
        return _at_least(products, lowest)

    def _candidates_of_half(self, block: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """The same by bfloat16, whose candidates float32 then thins out; None if it leaves too many."""
        floor = self._floor()
        # the rounding of the product itself is relative to it, and so to the floor for those that matter
        lowest = floor - self._queries.half_bound - HALF * floor.abs()
        row, column, _ = _at_least(self._queries.half @ block.bfloat16().T, lowest)
        if len(row) > CROWDED * len(self._queries.single) * len(block):
            return None
        product = torch.empty(len(row))
        for part in parts_of(len(row), BLOCK_PAIRS):
            queries, keys = self._queries.single.index_select(0, row[part]), block.index_select(0, column[part])
            product[part] = queries.mul_(keys).sum(dim=1)
        kept = product >= (floor - self._queries.bound)[row]
        return row[kept], column[kept], product[kept]

    def _keep(self, row: Integers, index: Integers, product: Floats) -> None:
        self._rounded.add(row, index, -product)
        self._waiting.append((row, index, product))
        if sum(len(part[0]) for part in self._waiting) > MOST_WAITING:
            self._settle()

    def _settle(self) -> None:
        """Measure the candidates that still matter."""
        if not self._waiting:
            return
        row, index, product = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
        left = product >= (self._floor().numpy() - self._queries.bound)[row]
        order = np.lexsort((index[left], row[left]))
        row, index = row[left][order], index[left][order]
        distances = [np.empty(0)]
        for part in parts_of(len(row), BLOCK_PAIRS):
            keys: Floats = _rows(self._keys, index[part]).double().cpu().numpy()
            squares = self._queries.squares[row[part]]
            distances.append(cosine_distances(self._queries.exact[row[part]], keys, squares=squares))
        self._best.add(row, index, np.concatenate(distances))


class _Best:
    """The k entries of lowest (distance, index) of each of N rows, of all added; a row's indices only go up."""

    def __init__(self, num_rows: int, k: int) -> None:
        self.distances: Floats = np.full((num_rows, k), np.inf)
        self.indices: Integers = np.full((num_rows, k), np.iinfo(np.int64).max)

    @property
    def last(self) -> Floats:
        """(N,) the k-th distance of each row; infinite before there are k."""
        return self.distances[:, -1]

    @property
    def is_full(self) -> bool:
        """Whether every row has k entries."""
        return bool(self.last.max() < float("inf"))

    def add(self, row: Integers, index: Integers, distance: Floats) -> None:
        """Let entries (C,) compete."""
        # one at the k-th distance comes later than the one there, and loses
        nearer = distance < self.last[row]
        row, index, distance = row[nearer], index[nearer], distance[nearer]
        touched = np.unique(row)
        k = self.indices.shape[1]
        row = np.concatenate([np.repeat(touched, k), row])
        index = np.concatenate([self.indices[touched].ravel(), index])
        distance = np.concatenate([self.distances[touched].ravel(), distance])
        order = np.lexsort((index, distance, row))
        # each touched row has at least k entries, side by side after sorting; its first k stay
        kept = order[np.searchsorted(row[order], touched)[:, None] + np.arange(k)]
        self.indices[touched], self.distances[touched] = index[kept], distance[kept]


def _at_least(products: Tensor, lowest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and value (C,) of the products (N, B) that reach their row's ``lowest`` (N,) float64."""
    # not rounded up over a product that reaches it
    limits = (lowest - 2 * SINGLE).float()
    grouped, rest = _in_groups(products)
    # few groups hold a candidate, and the best of each is quick to find: member m of group g is column m * groups + g
    row, group = (grouped.amax(dim=1).float() >= limits[:, None]).nonzero(as_tuple=True)
    values = grouped[row, :, group].float()
    hit, member = (values >= limits[row][:, None]).nonzero(as_tuple=True)
    last_row, last = (rest.float() >= limits[:, None]).nonzero(as_tuple=True)
    column = member * grouped.shape[2] + group[hit]
    return (
        torch.cat([row[hit], last_row]),
        torch.cat([column, grouped[0].numel() + last]),
        torch.cat([values[hit, member], rest[last_row, last].float()]),
    )


def _reached_by(products: Tensor, k: int) -> Tensor:
    """(N,) numbers that at least k products of each row (N, B) reach: the k-th largest of it, or a little less."""
    grouped, rest = _in_groups(products)
    if grouped.shape[2] >= 2 * k:
        # each of the k best groups has a product that is at least the k-th of what is best in them
        products = torch.cat([grouped.amax(dim=1), rest], dim=1)
    return products.topk(k, dim=1).values[:, -1]


def _in_groups(products: Tensor) -> tuple[Tensor, Tensor]:
    """The same products as (N, GROUP, groups), and those of the last columns, which fill no group."""
    groups = products.shape[1] // GROUP
    whole = GROUP * groups
    return torch.unflatten(products[:, :whole], 1, (GROUP, groups)), products[:, whole:]


def _fill_unit(block: Tensor, keys: Keys, start: int) -> None:
    """Write the keys from ``start`` on into the block (B, D), float32, each scaled to norm 1."""
    block.copy_(_rows(keys, slice(start, start + len(block))))
    norms = torch.linalg.vector_norm(block, dim=1)
    _check_norms(norms, "frame of the voice", start)
    block.mul_(norms.reciprocal()[:, None])


def _rows(keys: Keys, part: slice | Integers) -> Tensor:
    if isinstance(keys, torch.Tensor):
        return keys[part] if isinstance(part, slice) else keys.index_select(0, torch.from_numpy(part).to(keys.device))
    # a copy, because a memory map may be read-only, which tensors cannot be
    return torch.from_numpy(np.array(keys[part]))


def _query_blocks(queries: Tensor, k: int) -> Iterator[Tensor]:
    """Parts of the queries small enough that their products with a block of max(1024, k) keys stay small."""
    size = max(1, BLOCK_KEYS * BLOCK_QUERIES // max(BLOCK_KEYS, k))
    return (queries[part].detach().cpu() for part in parts_of(len(queries), size))


def parts_of(length: int, size: int) -> Iterator[slice]:
    """Slices of so many rows."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


@contextlib.contextmanager
def _workers(num_queries: int, keys: Keys, k: int) -> Iterator[tuple[Callable[..., Any], list[range]]]:
    """A function that runs functions side by side, and the stripes of the keys to run them on.

    One thread each, in which every step runs alone: the threads that PyTorch shares a step among wait for each other
    at its end, and there are a thousand small steps here, each of which stalls where another program has the processor.
    """
    threads = torch.get_num_threads()
    count = min(threads, MOST_WORKERS, len(keys) // max(STRIPE_KEYS, k))
    if count <= 1 or num_queries * len(keys) * keys.shape[1] < WORTH_THREADS:
        yield lambda calls: [call() for call in calls], [range(len(keys))]
        return
    edges = [i * len(keys) // count for i in range(count + 1)]
    stripes = [range(start, stop) for start, stop in itertools.pairwise(edges)]
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda calls: [one.result() for one in [pool.submit(call) for call in calls]], stripes
    finally:
        # that of MKL is one number for all threads
        torch.set_num_threads(threads)


def _nearest_of(stripes: list[_Best]) -> Neighbours:
    """The nearest of those found in each stripe."""
    distances = np.concatenate([found.distances for found in stripes], axis=1)
    indices = np.concatenate([found.indices for found in stripes], axis=1)
    order = np.lexsort((indices, distances), axis=1)[:, : stripes[0].distances.shape[1]]
    return Neighbours(
        torch.from_numpy(np.take_along_axis(indices, order, axis=1)),
        torch.from_numpy(np.take_along_axis(distances, order, axis=1)),
    )


def _check(queries: Tensor, keys: Keys, k: int) -> None:
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1] or 0 in queries.shape:
        raise InputError(
            f"queries {tuple(queries.shape)} and frames of the voice {tuple(keys.shape)} do not fit; "
            "(N, D) and (M, D) with the same D needed, as one encoder makes them"
        )
    if not queries.is_floating_point() or not str(keys.dtype).removeprefix("torch.").startswith(("float", "bfloat")):
        raise InputError(f"queries are {queries.dtype}, frames of the voice {keys.dtype}; floating point needed")
    if not 1 <= k <= keys.shape[0]:
        raise InputError(
            f"k is {k}, but the voice has {keys.shape[0]} frames; k from 1 to {keys.shape[0]} needed: "
            "lower k or add reference recordings"
        )
    _check_norms(torch.linalg.vector_norm(queries.detach().float(), dim=1), "source frame", 0)


def _check_norms(norms: Tensor, what: str, start: int) -> None:
    wrong = ~((norms >= LOWEST_NORM) & (norms <= HIGHEST_NORM))
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        raise InputError(
            f"{what} {start + first} has norm {float(norms[first]):.3g}, so it has no direction to compare by; "
            "all zeros, NaN or infinite values come from a damaged file or model: make the features again"
        )
