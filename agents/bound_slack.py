"""Which side of a bracket is loose: the bound is told the plan's answers, one question after the other."""

from typing import NamedTuple

from agents.bound_leave import as_recorded
from agents.planner_bracket import bound_for, questions_of
from agents.planner_steps import played
from envs.base import WorldEnv
from sim.batch.layout import Rows
from sim.episode import Episode


class Slack(NamedTuple):
    """A plan's cost, and bounds that know more and more of its answers; in seconds.

    Where a told bound stays below the plan, the bound is loose by as much at least: nothing cheaper can be
    had with these answers if they are all that is asked. What telling an answer adds is either side's: the
    bound may relax that choice, or the plan may have chosen badly.

    Attributes:
        plan_s: What the plan costs.
        bound_s: No policy costs less.
        codecs_s: No policy costs less that sends each transfer with the codec of the plan, on its path, whole
            or as a delta as there.
        starts_s: Nor one that besides starts none earlier than the plan does.
    """

    plan_s: float
    bound_s: float
    codecs_s: float
    starts_s: float

    def __add__(self, other: object) -> "Slack":
        """Of both episodes together."""
        if not isinstance(other, Slack):
            return NotImplemented
        return Slack(*(one + more for one, more in zip(self, other, strict=True)))


def slack(env: WorldEnv, episode: Episode, plan: Rows, *, control_s: float = 1.0) -> Slack:
    """Take the ratio of a plan to its bound apart.

    Args:
        env: Whose questions the plan answers.
        episode: What is to be moved.
        plan: Rows of `agents.planner_steps.STEP`, shape (transfers,).
        control_s: As the environment was made with.
    """
    questions = questions_of(env, episode.scenario, control_s)
    world = played(episode, env.codecs, plan, questions)
    bounds_s = [bound_for(env, episode, questions).cost_s]
    for starts in (False, True):
        leave = as_recorded(episode, env.codecs, world.records, starts=starts)
        told_s = bound_for(env, episode, questions, leave).cost_s
        bounds_s.append(max(told_s, bounds_s[-1]))  # nodes lie elsewhere; the earlier one holds as well
    return Slack(world.cost, *bounds_s)
