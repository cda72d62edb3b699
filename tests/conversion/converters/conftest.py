"""Queries, keys, values and the four nearest keys of each query."""

import pytest
from helpers import random

from speechssl.conversion.retrieval import nearest


@pytest.fixture
def case():
    keys, values = random(300, 12).half(), random(300, 7, seed=1).half()
    queries = random(25, 12, seed=2)
    return queries, keys, values, nearest(queries, keys, k=4)
