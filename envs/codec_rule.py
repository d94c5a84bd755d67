"""Who answers the codec question where it is not the agent's: one codec throughout, or the shortest alone."""

from collections.abc import Sequence
from typing import Final

from sim.codecs import Codec
from sim.decisions import CodecQuestion, CodecRule
from sim.estimates import PLACES, estimate

SHORTEST: Final = "shortest"
"""Name of the rule that takes the codec with the shortest estimated time."""


def codec_rule(name: str, codecs: Sequence[Codec]) -> CodecRule:
    """The rule of that name: a codec's own name, or ``shortest``.

    Args:
        name: Which rule.
        codecs: The world's list, which the answers index.

    Raises:
        ValueError: If it is neither.

    >>> from sim.codecs import parse_codec
    >>> always = codec_rule("hde", [parse_codec("zstd"), parse_codec("hde")])
    """
    if name == SHORTEST:
        return shortest_alone(codecs)
    names = [codec.name for codec in codecs]
    if name not in names:
        raise ValueError(f"codec must be {SHORTEST!r} or one of {', '.join(names)}, got {name!r}")
    number = names.index(name)
    return lambda _: number


def shortest_alone(codecs: Sequence[Codec]) -> CodecRule:
    """Take the codec with the shortest estimated time, alone on path and cores; of equals the first.

    Variants of a family (levels, streams) have one estimate, so of each family the first is taken.
    """
    places = [PLACES[codec.family] for codec in codecs]
    numbers = range(len(places))

    def rule(question: CodecQuestion) -> int:
        seconds = estimate(question)
        return min(numbers, key=lambda number: seconds[places[number]])

    return rule
