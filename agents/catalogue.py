"""Policies by task and name, as YAML, tables and TensorBoard call them."""

from collections.abc import Callable
from typing import Final, NamedTuple

from agents import share_rules
from agents.dispatch_rules import (
    DispatchRule,
    Hold,
    RandomDispatch,
    Score,
    apparent_tardiness,
    business_hours,
    busy_for,
    highest_response_ratio,
    last_slot_for,
    least_to_spare,
    most_urgent,
    never,
    oldest,
    shortest,
    weighted_shortest,
)
from agents.heuristics import Contention, DwcpRule, Estimate, Fixed, ModeRule
from agents.joint_rules import Composed
from agents.one_step_oracle import OneStepOracle, PublishedOracle
from agents.policy import Policy
from agents.predicted import Predicted, PredictedContention, PredictedGreedy, PredictedOrder
from agents.share_rules import ShareRule, Weigh
from agents.stream_tuners import BayesianSearch, GradientAscent, HillClimb
from envs.base import WorldEnv

Build = Callable[[WorldEnv], Policy]
"""Makes a policy for an environment: its codecs, features and spaces are there to be asked for."""


class Entry(NamedTuple):
    """One name of the catalogue.

    Attributes:
        kind: static (a fixed rule: the best of them is what others are set against), rule, oracle,
            supervised, learner, search or bound.
        about: One line for people.
        build: Makes the policy, where no training comes before.
        foretold: Makes it for an environment whose observation holds the forecasts that it reads.
    """

    kind: str
    about: str
    build: Build | None = None
    foretold: Build | None = None


def _published(price: float) -> Entry:
    return Entry(
        "oracle",
        f"the published one-step label at a CPU price of {price:g}",
        lambda env: PublishedOracle(env.codecs, price),
    )


def _order(name: str, about: str, score: Score, hold: Hold = never) -> Entry:
    return Entry("static", about, lambda env: DispatchRule(name, env.features, score, hold))


def _shares(weigh: Weigh, about: str) -> Entry:
    return Entry("static", about, lambda env: ShareRule(env, weigh))


def _composed(name: str, codec: str, dispatch: str, share: str) -> Entry:
    def build(env: WorldEnv) -> Policy:
        return Composed(
            name,
            env,
            codec=lambda part: _codec_policy(codec, part),
            dispatch=lambda part: make_policy(dispatch, part),
            share=lambda part: make_policy(share, part),
        )

    return Entry("static", f"{codec} for codecs, {dispatch} for who goes next, {share} for shares", build)


def _codec_policy(name: str, env: WorldEnv) -> Policy:
    """A rule by its name, or always the first codec of a family; the first of all where there is none."""
    if name in POLICIES["compression"]:
        return make_policy(name, env)
    families = [codec.family for codec in env.codecs]
    return Fixed(name, families.index(name) if name in families else 0)


def _tardiness(name: str, env: WorldEnv, hold: Hold = never) -> DispatchRule:
    score = apparent_tardiness(env.scenarios[0].late_price)
    return DispatchRule(name, env.features, score, hold)


_COMPOSITIONS: Final = {
    "plain": ("zstd", "fifo", "equal"),
    "estimate_wspt_equal": ("estimate", "wspt", "equal"),
    "estimate_wspt_wsrpt": ("estimate", "wspt", "wsrpt"),
    "estimate_wspt_greedy": ("estimate", "wspt", "greedy"),
    "estimate_reserve_wsrpt": ("estimate", "wspt_reserve", "wsrpt"),
    "contention_wspt_wsrpt": ("contention", "wspt", "wsrpt"),
    "contention_atc_greedy": ("contention", "atc", "greedy"),
    "contention_reserve_wsrpt": ("contention", "wspt_reserve", "wsrpt"),
    "contention_reserve_greedy": ("contention", "wspt_reserve", "greedy"),
    "hde_wspt_wsrpt": ("hde", "wspt", "wsrpt"),
    "hde_reserve_wsrpt": ("hde", "wspt_reserve", "wsrpt"),
    "hde_reserve_greedy": ("hde", "wspt_reserve", "greedy"),
}
"""Rules for codec, dispatch and shares that go together; each does well on some site."""

_PPO: Final = Entry("learner", "proximal policy optimisation, Stable-Baselines3")
_MASKED_PPO: Final = Entry("learner", "proximal policy optimisation over allowed actions only, sb3-contrib")
_RECURRENT_PPO: Final = Entry("learner", "PPO with an LSTM, sb3-contrib")
_QRDQN: Final = Entry("learner", "quantile regression deep Q-learning, sb3-contrib")
_BOUND: Final = Entry("bound", "a relaxation with perfect knowledge: no policy can cost less")

POLICIES: Final[dict[str, dict[str, Entry]]] = {
    "compression": {
        "dwcp_rule": Entry("rule", "DWCP's fallback rule", lambda env: DwcpRule(env.codecs)),
        "mode_rule": Entry(
            "rule", "DWCP's mode rules (data centre, hybrid, internet)", lambda env: ModeRule(env.codecs)
        ),
        "estimate": Entry(
            "rule", "shortest time by lagged averages, blind to others", lambda env: Estimate(env.codecs)
        ),
        "contention": Entry(
            "rule",
            "the same, with the wait caused to others and had from them",
            lambda env: Contention(env.codecs),
        ),
        "predictor": Entry(
            "rule",
            "least cost by the times that the performance predictor says; needs `performance_forecast`",
            foretold=lambda env: Predicted(env.codecs, env.features),
        ),
        "predictor_contention": Entry(
            "rule",
            "the same, with the wait caused to others",
            foretold=lambda env: PredictedContention(env.codecs, env.features),
        ),
        "ensemble": Entry(
            "supervised", "XGBoost 0.7 and a network 0.3, trained on the one-step oracle's labels"
        ),
        "nn19": Entry("supervised", "the published two-class network (HDE or AMST) on 19 inputs"),
        "ppo": _PPO,
        "dqn": Entry("learner", "deep Q-learning, Stable-Baselines3"),
        "qrdqn": _QRDQN,
        "vine": Entry("learner", "PPO, then every answer tried on forks of the world"),
        "recurrent_ppo": _RECURRENT_PPO,
        "one_step_oracle": Entry(
            "oracle",
            "true ratios and rates, blind to all that follows",
            lambda env: OneStepOracle(env.codecs),
        ),
        "published_oracle_0.001": _published(0.001),
        "published_oracle_0.1": _published(0.1),
        "published_oracle_1": _published(1.0),
        "best_found": Entry("search", "cheapest answers that the hindsight planner found"),
        "bound": _BOUND,
    },
    "allocation": {
        "equal": _shares(share_rules.equal, "every stream and every encoder weighs the same: the plain rule"),
        "proportional": _shares(
            share_rules.proportional, "in proportion to what is still to be sent and encoded"
        ),
        "proportional_fair": _shares(
            share_rules.proportional_fair, "by the rate each could have over what it has had"
        ),
        "priority": _shares(share_rules.priority, "higher priorities first"),
        "published": _shares(
            share_rules.published, "the published resource allocator's shares: demand by tier"
        ),
        "srpt": _shares(share_rules.srpt, "shortest remaining time first"),
        "wsrpt": _shares(share_rules.wsrpt, "highest priority over remaining time first"),
        "wsrpt_soft": _shares(share_rules.wsrpt_soft, "the same, less strictly"),
        "wsrpt_streams": Entry(
            "static",
            "wsrpt, over as many streams as the path has room for",
            lambda env: ShareRule(env, share_rules.wsrpt, share_rules.room, "wsrpt_streams"),
        ),
        "cmu_streams": Entry(
            "static",
            "priority over work on each resource by itself, over as many streams as the path has room for",
            lambda env: ShareRule(env, share_rules.cmu, share_rules.room, "cmu_streams"),
        ),
        "greedy": _shares(
            share_rules.greedy, "the same order, each given the rate that it is expected to reach"
        ),
        "edf": _shares(share_rules.edf, "earliest deadline first"),
        "least_slack": _shares(share_rules.least_slack, "least time to spare before the deadline first"),
        "predictor_greedy": Entry(
            "rule",
            "greedy in the order of predicted times, where a supervised run is named as `models`",
            foretold=PredictedGreedy,
        ),
        "hill_climb": Entry("rule", "streams tuned by hill climbing (Falcon)", HillClimb),
        "gradient": Entry("rule", "streams tuned along the gradient of utility (Falcon)", GradientAscent),
        "bayesian": Entry("rule", "streams tuned by Bayesian search (Falcon)", BayesianSearch),
        "ppo": _PPO,
        "recurrent_ppo": _RECURRENT_PPO,
        "bound": _BOUND,
    },
    "scheduling": {
        "fifo": _order("fifo", "first come, first served", oldest),
        "sjf": _order("sjf", "shortest estimated time first", shortest),
        "edf": _order("edf", "earliest deadline first", most_urgent),
        "wspt": _order("wspt", "highest priority over estimated time first", weighted_shortest),
        "atc": Entry(
            "static",
            "the same, with a deadline that comes near counted beforehand",
            lambda env: _tardiness("atc", env),
        ),
        "hrrn": _order(
            "hrrn", "longest wait in multiples of the estimated time first", highest_response_ratio
        ),
        "least_slack": _order("least_slack", "least time to spare before the deadline first", least_to_spare),
        "off_peak": _order(
            "off_peak",
            "the oldest, but outside business hours unless critical or due",
            oldest,
            business_hours,
        ),
        "wspt_serial": _order(
            "wspt_serial", "wspt, when what is underway is nearly through", weighted_shortest, busy_for(1.0)
        ),
        "wspt_reserve": _order(
            "wspt_reserve",
            "wspt, with the last free slot kept for short ones",
            weighted_shortest,
            last_slot_for(1.0, 2),
        ),
        "atc_reserve": Entry(
            "static",
            "atc, with the last free slot kept for short ones",
            lambda env: _tardiness("atc_reserve", env, last_slot_for(1.0, 2)),
        ),
        "predictor_sjf": Entry(
            "rule",
            "shortest predicted time first, where a supervised run is named as `models`",
            foretold=lambda env: PredictedOrder("predictor_sjf", env, weighted=False),
        ),
        "predictor_wspt": Entry(
            "rule",
            "highest priority over predicted time first, likewise",
            foretold=lambda env: PredictedOrder("predictor_wspt", env, weighted=True),
        ),
        "random": Entry("rule", "any legal action", lambda env: RandomDispatch()),
        "masked_ppo": _MASKED_PPO,
        "masked_dqn": Entry("learner", "double deep Q-learning over allowed actions only"),
        "qrdqn": _QRDQN,
        "bound": _BOUND,
    },
    "joint": {
        **{name: _composed(name, *parts) for name, parts in _COMPOSITIONS.items()},
        "masked_ppo": _MASKED_PPO,
        "bound": _BOUND,
    },
}
"""Every policy of each task; with a task of codecs, each codec is one more, under its own name."""


def policies_of(task: str) -> dict[str, Entry]:
    """The policies of a task by name; of compression without its codecs.

    Raises:
        ValueError: If there is no such task.
    """
    if task not in POLICIES:
        raise ValueError(f"unknown task {task!r}; there are {', '.join(POLICIES)}")
    return POLICIES[task]


def static_policies(env: WorldEnv) -> list[Policy]:
    """The fixed rules of a task: of compression one constant a codec, of others all of kind static."""
    if env.task == "compression":
        return [Fixed(codec.name, action) for action, codec in enumerate(env.codecs)]
    return [
        entry.build(env)
        for entry in POLICIES[env.task].values()
        if entry.kind == "static" and entry.build is not None
    ]


def kind_of(name: str, env: WorldEnv) -> str:
    """Kind of a policy; of compression a codec's name is a static one.

    Raises:
        KeyError: If there is no policy of that name.
    """
    return "static" if _codec(name, env) is not None else POLICIES[env.task][name].kind


def make_policy(name: str, env: WorldEnv) -> Policy:
    """A policy that needs no training.

    Raises:
        KeyError: If there is none of that name.
        ValueError: If it must be trained or searched for, or if it reads forecasts that are not seen.
    """
    if (codec := _codec(name, env)) is not None:
        return Fixed(name, codec)
    entry = POLICIES[env.task][name]
    build = entry.build or entry.foretold
    if build is None:
        raise ValueError(f"{name} does not come ready made; train it or search for it")
    return build(env)


def _codec(name: str, env: WorldEnv) -> int | None:
    """Action of the codec of that name, where a codec is a policy."""
    if env.task != "compression":
        return None
    return next((action for action, codec in enumerate(env.codecs) if codec.name == name), None)
