"""Near-duplicates found by sorted bands are those that comparing all with all finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from audit.duplicates import groups, largest, repeated, representatives


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_groups_are_those_of_comparing_all_with_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**63, 12, dtype=np.uint64)
    flips = rng.integers(0, 64, (60, 2)).astype(np.uint64)
    hashes = base[rng.integers(0, 12, 60)] ^ (np.uint64(1) << flips[:, 0]) ^ (np.uint64(1) << flips[:, 1])
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= 2
    _, expected = connected_components(near, directed=False)
    found = groups(hashes)
    assert ((found[:, None] == found[None]) == (expected[:, None] == expected[None])).all()


def test_three_bits_apart_is_no_near_duplicate() -> None:
    assert len(set(groups(np.array([0, 7], dtype=np.uint64)).tolist())) == 2


def test_repeats_and_what_is_left_without_them() -> None:
    found = groups(np.array([5, 5, 7 * 2**40, 4], dtype=np.uint64))
    assert repeated(found).tolist() == [True, True, False, True]
    assert representatives(found).tolist() == [True, False, True, False]
    assert [members.tolist() for members in largest(found, 3)] == [[0, 1, 3]]
