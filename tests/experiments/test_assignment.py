"""Which side answers a key: sticky, growing with the share, even, and drawn anew for others."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.rollout.assignment import SHARES, STAGES, place_of, takes_candidate

WORDS = st.text(max_size=12)
PARTS = st.one_of(st.floats(0, 1), st.sampled_from(list(SHARES.values())))


@settings(max_examples=50)
@given(key=WORDS, region=WORDS, candidate=WORDS, first=PARTS, second=PARTS)
def test_a_key_that_has_the_candidate_keeps_it_at_every_larger_share(key, region, candidate, first, second):
    low, high = sorted([first, second])
    assert takes_candidate(key, region, candidate, low) <= takes_candidate(key, region, candidate, high)


@given(key=WORDS, region=WORDS, candidate=WORDS)
def test_nobody_has_the_candidate_at_no_share_and_everybody_at_all(key, region, candidate):
    assert not takes_candidate(key, region, candidate, 0.0)
    assert takes_candidate(key, region, candidate, 1.0)


@given(parts=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=2, max_size=2, unique=True))
def test_parts_that_read_alike_when_joined_are_still_different_keys(parts):
    first, second = parts
    assert place_of(*first) != place_of(*second)


def test_shares_are_met_and_regions_and_candidates_draw_apart():
    names = [f"session-{number}" for number in range(20_000)]
    for share in (0.05, 0.25, 0.5):
        drawn = [
            np.array([takes_candidate(key, *parts, share) for key in names])
            for parts in (("eu", "a"), ("us", "a"), ("eu", "b"))
        ]
        error = np.sqrt(share * (1 - share) / len(names))
        assert all(abs(one.mean() - share) < 4 * error for one in drawn)
        both = np.mean(drawn[0] & drawn[1]), np.mean(drawn[0] & drawn[2])
        assert all(abs(one - share**2) < 4 * share * np.sqrt((1 - share**2) / len(names)) for one in both)


def test_shares_grow_from_stage_to_stage():
    shares = [SHARES[stage] for stage in STAGES]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0


def test_a_key_stands_where_it_stood_in_every_release():
    assert place_of("vm-17", "eu", "3f2a") == 12_749_120_654_296_339_354
