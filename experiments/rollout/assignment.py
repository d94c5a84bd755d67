"""Which side answers a key: by hash, so the same key stays on its side, and a larger share only adds keys."""

from hashlib import blake2b
from typing import Final

STAGES: Final = ("offline", "shadow", "canary_5", "canary_25", "canary_50", "canary_75", "full")
"""Stages of a rollout in their order."""

SHARES: Final = dict(zip(STAGES, (0.0, 0.0, 0.05, 0.25, 0.5, 0.75, 1.0), strict=True))
"""Share of the keys that the candidate answers in each stage, as published for the DWCP selector."""

_STEPS: Final = 1 << 64


def takes_candidate(key: str, region: str, candidate: str, share: float) -> bool:
    """Whether the candidate answers a key.

    Keys that have it at one share have it at every larger one. Another region or another candidate draws
    anew, so that it is not always the same keys that go first.

    Args:
        key: What belongs together and must see one policy: a session, a migration.
        region: Whose stage counts.
        candidate: Version of the candidate.
        share: Of the keys, in [0, 1].

    >>> [takes_candidate("vm-17", "eu", "3f2a", share) for share in SHARES.values()]
    [False, False, False, False, False, True, True]
    """
    return place_of(key, region, candidate) < share * _STEPS


def place_of(key: str, region: str, candidate: str) -> int:
    """Where a key stands among all, even over 0 to 2**64 - 1.

    Each part is hashed with its length, so no two of different parts are alike.
    """
    digest = blake2b(digest_size=8)
    for part in (candidate, region, key):
        word = part.encode("utf-8", "surrogatepass")
        digest.update(len(word).to_bytes(8, "little") + word)
    return int.from_bytes(digest.digest(), "little")
