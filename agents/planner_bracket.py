"""The planner on an environment's episode: it starts from the rules of the catalogue, the bound beside it."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np

from agents.bound import Bound, bound
from agents.bound_leave import Leave, by_shortest_estimate
from agents.catalogue import static_policies
from agents.planner import Planned, search
from agents.planner_steps import Questions, plain_plan
from agents.play import play
from agents.policy import Action, Mask, Observation, Policy
from envs.allocation import Allocation
from envs.base import WorldEnv
from envs.codec_rule import SHORTEST
from envs.joint import Joint
from envs.scheduling import Scheduling
from sim.batch.layout import Rows
from sim.codecs import Codec
from sim.decisions import CodecQuestion
from sim.episode import Episode
from sim.scenarios import Scenario
from sim.world import World

_STRICT: Final = 3.5
"""Between neighbours in an order of shares: as strict as `agents.share_rules`, a factor of 33 in weight."""
_STRICT_HASTE: Final = 20.0
"""Power of what is left that makes half as much weigh a million times as much: a strict order."""


class Bracket(NamedTuple):
    """What lies around the optimum of an episode; costs in seconds.

    Attributes:
        scenario: Its name.
        planned: The best plan found.
        bound_s: No policy costs less.
        best_policy: The cheapest of the static policies.
        best_policy_s: Its cost.
    """

    scenario: str
    planned: Planned
    bound_s: float
    best_policy: str
    best_policy_s: float


class CodecPlan(Policy):
    """Sends each transfer with the codec that a plan has for it, in `dwcp/Compression-v0`."""

    needs_world = True

    def __init__(self, name: str, plan: Rows) -> None:
        self.name = name
        self._codecs = plan["codec"].tolist()
        self._world: World | None = None

    def bind(self, world: World) -> None:
        """Answer the questions of this world from now on."""
        self._world = world

    def act(self, observation: Observation, mask: Mask | None = None) -> int:
        """The codec of the transfer whose question is open; the observation is not used."""
        assert self._world is not None  # `agents.play` binds it
        question = cast(CodecQuestion, self._world.question)
        return int(self._codecs[question.request])


def questions_of(env: WorldEnv, scenario: Scenario, control_s: float = 1.0) -> Questions:
    """The questions that an environment leaves open on a site.

    Args:
        env: The environment.
        scenario: The site.
        control_s: As the environment was made with.
    """
    if isinstance(env, Scheduling):
        return Questions(False, dispatch=True, quantum_s=env.quantum_s(scenario))
    if isinstance(env, Allocation):
        return Questions(False, share=True, control_s=control_s, streams=env.streams)
    if isinstance(env, Joint):
        scheduling = next(part.env for part in env.parts if isinstance(part.env, Scheduling))
        quantum_s = scheduling.quantum_s(scenario)
        return Questions(True, dispatch=True, share=True, control_s=control_s, quantum_s=quantum_s)
    return Questions(True)


def realised(
    env: WorldEnv, episode: Episode, policy: Policy, questions: Questions
) -> tuple[World, list[Rows]]:
    """Play a policy, and write down as plans what it did.

    Codecs, order and waits come out as they were. Of shares a plan keeps the order in which transfers ended:
    a rule that weighs anew every second is followed roughly.

    Returns:
        The finished world, and plans: first with all waits, then without.
    """
    order: dict[int, None] = {}

    def note(world: World, observation: Observation, action: Action) -> None:
        order.update(dict.fromkeys(world.moving))

    world = play(env, episode, policy, watch=note)
    records = sorted(world.records, key=lambda one: one.start_s)
    order.update({one.request: None for one in records})
    seen = {request: place for place, request in enumerate(order)}
    records.sort(key=lambda one: (one.start_s, seen[one.request]))
    names = [codec.name for codec in env.codecs]
    plan = plain_plan(len(episode))
    for turn, one in enumerate(records):
        step = plan[one.request]
        if questions.codec:
            step["codec"] = names.index(one.codec)
        step["turn"], step["path"], step["not_before_s"] = turn, one.path, one.start_s
    ends = np.argsort([one.end_s for one in sorted(records)], kind="stable")
    if questions.share:
        plan["level"][ends] = plan["core_level"][ends] = -_STRICT * np.arange(len(ends))
    if questions.share and questions.streams:
        plan["streams"] = [one.streams for one in sorted(records)]
    at_once = plan.copy()
    at_once["not_before_s"] = 0.0
    return world, [plan, at_once]


def plain_starts(episode: Episode, codecs: Sequence[Codec], questions: Questions) -> list[Rows]:
    """Every codec, where codecs are asked for; with equal shares, and by priority over what is left."""
    count = len(episode)
    constants = [plain_plan(count, codec) for codec in range(len(codecs))] if questions.codec else []
    starts = [plain_plan(count), *constants]
    if questions.share:
        for plan in list(starts):
            for haste in (1.0, _STRICT_HASTE):
                hasty = plan.copy()
                hasty["haste"] = haste
                hasty["level"] = hasty["core_level"] = haste * np.log(episode.requests.priority)
                starts.append(hasty)
    return starts


def bound_for(env: WorldEnv, episode: Episode, questions: Questions, leave: Leave | None = None) -> Bound:
    """The bound on what answers to an environment's questions can cost.

    Args:
        env: The environment; where it has a codec rule, the bound knows it.
        episode: What is to be moved.
        questions: As of `questions_of`.
        leave: When and how transfers may leave; else as the environment has it.
    """
    codecs = env.codecs
    if leave is None and isinstance(env, Scheduling | Allocation):
        if env.codec == SHORTEST:
            leave = by_shortest_estimate(episode, codecs)
        else:
            codecs = tuple(codec for codec in codecs if codec.name == env.codec)
    return bound(
        episode,
        codecs,
        free_shares=questions.share,
        free_streams=bool(questions.streams),
        free_order=questions.dispatch,
        leave=leave,
    )


def bracket(
    env: WorldEnv,
    episode: Episode,
    *,
    budget: int,
    rng: np.random.Generator,
    codec: str | None = None,
    control_s: float = 1.0,
    policies: Sequence[Policy] | None = None,
) -> Bracket:
    """Plan and bound of an episode, and the best static policy.

    Args:
        env: Whose questions are answered.
        episode: What is to be moved.
        budget: As of `agents.planner.search`.
        rng: The only source of chance.
        codec: The codec throughout, where the environment was made with one.
        control_s: As the environment was made with.
        policies: Policies to start from, and to compare with; the static ones unless given.
    """
    questions = questions_of(env, episode.scenario, control_s)
    starts = plain_starts(episode, env.codecs, questions)
    costs: dict[str, float] = {}
    for policy in static_policies(env) if policies is None else policies:
        world, plans = realised(env, episode, policy, questions)
        costs[policy.name] = world.cost
        starts += plans
    if codec is not None:
        for plan in starts:
            plan["codec"] = [one.name for one in env.codecs].index(codec)
    least: Any = min(costs, key=costs.__getitem__)
    return Bracket(
        episode.scenario.name,
        search(episode, env.codecs, questions, starts, budget=budget, rng=rng),
        bound_for(env, episode, questions).cost_s,
        least,
        costs[least],
    )
