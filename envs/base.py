"""A world with a question left open, as a Gymnasium environment."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.features import FeatureList
from envs.forecasts import Foretelling
from sim.catalogue import find_scenario
from sim.codecs import Codec, parse_codec
from sim.decisions import BY_DEFAULT, Answer, Question, Rules
from sim.episode import Episode, draw_episode
from sim.scenarios import Scenario
from sim.traces import Trace
from sim.world import World

Observation = NDArray[np.float32]
Mask = NDArray[np.bool_]

_AHEAD: Final = 4
"""Worlds made in one go after the first: in a row they take half the time that they take one by one."""
DRAWS: Final = 100
"""Episodes drawn for one that asks a question, before the scenario is refused."""


class Slots(NamedTuple):
    """Which entries belong to the transfers that a question shows side by side, slot by slot.

    Attributes:
        seen: Of each slot, its entries of the observation, in the same order for all.
        done: Of each slot, its entries of a network's outputs (scores of actions, or a Box), likewise.
        groups: How many slots each group has, where slots of several kinds stand one group after the other;
            empty where all are of one kind. "The same order for all" is then said of each group.
    """

    seen: tuple[tuple[int, ...], ...]
    done: tuple[tuple[int, ...], ...]
    groups: tuple[int, ...] = ()


class WorldEnv(gym.Env[Observation, Any]):
    """What the environments share: episodes, the clock, the cost; a subclass turns actions into answers.

    Attributes:
        task: Its name in configs, catalogues and tables.
        masked: Whether some actions may be illegal; `action_masks` and ``info["action_mask"]`` tell which.
        world: The running episode.
        foretelling: Predicts how long transfers will take, for rules that plan by it; None without one.

    Args:
        scenario: One or several scenarios, by name or as objects; each episode is of one, drawn evenly.
        codecs: Answers of the codec question.
        features: What is seen of a question.
        rules: Who answers what the agent does not.
        traces: Recorded link conditions to use in place of the scenarios' link models.
        render_mode: ``rgb_array`` draws the episode so far.

    Reset options: ``episode`` runs that episode; ``episode_seed`` and ``scenario`` draw a chosen one. A drawn
    episode that asks no question, for all of it is done sooner, is drawn again; a chosen one is a ValueError.
    """

    task: ClassVar[str]
    masked: ClassVar[bool] = False
    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        scenario: str | Scenario | Sequence[str | Scenario],
        codecs: Sequence[str],
        features: FeatureList,
        *,
        rules: Rules = BY_DEFAULT,
        traces: Sequence[Trace] = (),
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        given = [scenario] if isinstance(scenario, str | Scenario) else list(scenario)
        if not given:
            raise ValueError("an environment needs at least one scenario")
        self.scenarios = tuple(find_scenario(one) if isinstance(one, str) else one for one in given)
        self.codecs: tuple[Codec, ...] = tuple(parse_codec(name) for name in codecs)
        if not self.codecs:
            raise ValueError("an environment needs at least one codec")
        self.features = features
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-1.0, 1.0, (len(features),), np.float32)
        self.world: World | None = None
        self.foretelling: Foretelling | None = None
        self._rules = rules
        self._traces = traces
        self._stock: list[World] = []
        self._draw_next = 1
        self._cost = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode: drawn from the environment's own generator, or the one named in the options."""
        super().reset(seed=seed)
        if seed is not None:
            self._stock, self._draw_next = [], 1
        self.world, question = self._first_question(options or {})
        self._cost = 0.0
        info: dict[str, Any] = {"scenario": self.world.episode.scenario.name}
        if self.masked:
            info["action_mask"] = self.action_masks()
        return self._observe(question), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Answer the open question and run to the next; the reward is minus the cost accrued in between."""
        asked, world = self._question(), self._running()
        world.answer(self._answer(asked, action))
        question = world.next_question()
        cost = world.cost
        reward, self._cost = self._cost - cost, cost
        if question is None:
            last = {
                "scenario": world.episode.scenario.name,
                "episode_seed": world.episode.seed,
                "cost_s": cost,
            }
            return np.zeros(len(self.features), np.float32), reward, True, False, last
        info = {"action_mask": self.action_masks()} if self.masked else {}
        return self._observe(question), reward, False, False, info

    @property
    def shown(self) -> Slots | None:
        """What belongs to which of the transfers shown side by side; None when there is but one."""
        return None

    def action_masks(self) -> Mask:
        """Which actions answer the open question; of several parts of an action, one after the other."""
        return self._mask(self._question())

    def render(self) -> NDArray[np.uint8] | None:
        """Timeline of the episode so far: who was sent when, with which codec, on which capacity."""
        if self.render_mode is None:
            return None
        from envs.timeline import draw_timeline

        return draw_timeline(self._running())

    def _observe(self, question: Question) -> Observation:
        return self.features.observe(question)

    def _mask(self, question: Question) -> Mask:
        raise NotImplementedError(f"in dwcp/{type(self).__name__} every action is legal")

    @abstractmethod
    def _answer(self, question: Question, action: Any) -> Answer:
        """What an action says to a question."""

    def _question(self) -> Question:
        question = self._running().question
        if question is None:
            raise RuntimeError("the episode is over; call reset()")
        return question

    def _running(self) -> World:
        if self.world is None:
            raise RuntimeError("call reset() before step() or render()")
        return self.world

    def _first_question(self, options: dict[str, Any]) -> tuple[World, Question]:
        """The next world and its first question; a drawn episode that asks none is drawn again."""
        given = "episode" in options or options.get("episode_seed") is not None
        for _ in range(1 if given else DRAWS):
            world = self._next_world(options)
            question = world.next_question()
            if question is not None:
                return world, question
        which = "this episode" if given else f"none of {DRAWS} episodes"
        raise ValueError(
            f"{which} of {world.episode.scenario.name!r} asks dwcp/{type(self).__name__} a question; "
            "give the scenario more requests or larger ones"
        )

    def _next_world(self, options: dict[str, Any]) -> World:
        unknown = set(options) - {"episode", "episode_seed", "scenario"}
        if unknown:
            raise ValueError(
                f"unknown reset options {sorted(unknown)}; there are episode, episode_seed and scenario"
            )
        if "episode" in options:
            return self._start(options["episode"])
        if options:
            return self._draw(options.get("scenario"), options.get("episode_seed"))
        if not self._stock:
            self._stock = [self._draw() for _ in range(self._draw_next)]
            self._draw_next = _AHEAD
        return self._stock.pop(0)

    def _start(self, episode: Episode) -> World:
        return World(episode, self.codecs, self._rules)

    def _draw(self, scenario: str | Scenario | None = None, seed: int | None = None) -> World:
        """A world at its start, its episode drawn with the environment's own generator as far as not told."""
        return self._start(self.draw_episode(self.np_random, scenario, seed))

    def draw_episode(
        self, rng: np.random.Generator, scenario: str | Scenario | None = None, seed: int | None = None
    ) -> Episode:
        """An episode of one of the scenarios, as far as not told which."""
        if scenario is None:
            scenario = self.scenarios[int(rng.integers(len(self.scenarios)))]
        elif isinstance(scenario, str):
            scenario = find_scenario(scenario)
        seed = int(rng.integers(2**31)) if seed is None else int(seed)
        return draw_episode(scenario, seed, self._traces)
