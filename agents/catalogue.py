"""Policies by name, as YAML, tables and TensorBoard call them."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from agents.heuristics import Contention, DwcpRule, Estimate, Fixed, ModeRule
from agents.one_step_oracle import OneStepOracle, PublishedOracle
from agents.policy import Policy
from sim.codecs import Codec

Build = Callable[[Sequence[Codec]], Policy]


class Entry(NamedTuple):
    """One name of the catalogue.

    Attributes:
        kind: static, rule, oracle, supervised, learner or search.
        about: One line for people.
        build: Makes the policy, where no training comes before.
    """

    kind: str
    about: str
    build: Build | None = None


def _published(price: float) -> Entry:
    return Entry(
        "oracle",
        f"the published one-step label at a CPU price of {price:g}",
        lambda codecs: PublishedOracle(codecs, price),
    )


POLICIES: Final[dict[str, Entry]] = {
    "dwcp_rule": Entry("rule", "DWCP's fallback rule", DwcpRule),
    "mode_rule": Entry("rule", "DWCP's mode rules (data centre, hybrid, internet)", ModeRule),
    "estimate": Entry("rule", "shortest time by lagged averages, blind to others", Estimate),
    "contention": Entry("rule", "the same, with the wait caused to others and had from them", Contention),
    "ensemble": Entry("supervised", "XGBoost 0.7 and a network 0.3, trained on the one-step oracle's labels"),
    "nn19": Entry("supervised", "the published two-class network (HDE or AMST) on 19 inputs"),
    "ppo": Entry("learner", "proximal policy optimisation, Stable-Baselines3"),
    "dqn": Entry("learner", "deep Q-learning, Stable-Baselines3"),
    "one_step_oracle": Entry("oracle", "true ratios and rates, blind to all that follows", OneStepOracle),
    "published_oracle_0.001": _published(0.001),
    "published_oracle_0.1": _published(0.1),
    "published_oracle_1": _published(1.0),
    "best_found": Entry("search", "best answers found by local search over the whole episode"),
}
"""Every policy but the constants: each codec is one, under its own name."""


def static_policies(codecs: Sequence[Codec]) -> list[Policy]:
    """One constant for each codec."""
    return [Fixed(codec.name, action) for action, codec in enumerate(codecs)]


def kind_of(name: str, codecs: Sequence[Codec]) -> str:
    """Kind of a policy; a codec's name is a static one.

    Raises:
        KeyError: If there is no policy of that name.
    """
    return "static" if any(codec.name == name for codec in codecs) else POLICIES[name].kind


def make_policy(name: str, codecs: Sequence[Codec]) -> Policy:
    """A policy that needs no training.

    Raises:
        KeyError: If there is none of that name.
        ValueError: If it must be trained or searched for.
    """
    for action, codec in enumerate(codecs):
        if codec.name == name:
            return Fixed(name, action)
    build = POLICIES[name].build
    if build is None:
        raise ValueError(f"{name} does not come ready made; train it or search for it")
    return build(codecs)
