"""Whole rollouts rehearsed on the simulator's decisions and costs, with the store and gates of every day."""

from pathlib import Path
from typing import Final, NamedTuple

from envs.compression import Compression
from experiments.bundles import rule_bundle
from experiments.rollout.assignment import STAGES
from experiments.rollout.book import DAY_S
from experiments.rollout.due import reasons
from experiments.rollout.gates import Gates
from experiments.rollout.retrain import retrain
from experiments.rollout.rollout import Rollout, keep_gates, name_candidate
from experiments.rollout.traffic import Clock, Fault, Teller, Traffic
from experiments.rollout.world import CODECS, moved, sessions_of, usual
from experiments.shadow.store import Store
from experiments.shadow.store_rows import Transition
from sim.randomness import stream

SMALL: Final = (
    *(f"steps.{stage}.decisions=1000" for stage in STAGES[1:-1]),
    *("retraining.history_days=7", "retraining.trees=60", "retraining.depth=6", "retraining.passes=20"),
)
"""What is other than published, so that a rehearsal takes minutes: smaller samples, a smaller ensemble."""

_TRIES: Final = 3
"""Successors at most for the world that has moved: what a gate takes back is due to be trained again."""


class Extent(NamedTuple):
    """How large a rehearsal is.

    Attributes:
        daily: Sessions a day.
        crowd: Different sessions of a world; more are these again.
        regions: Where they come from.
        explore: Share of answers at random.
        told: Share of decisions of which every cost becomes known.
        look_hours: Between two looks at the evidence.
        patience_days: After which a rollout that has not ended is given up.
        seed: Of all chance.
    """

    daily: int = 400
    crowd: int = 3000
    regions: tuple[str, ...] = ("eu", "us")
    explore: float = 0.1
    told: float = 0.25
    look_hours: float = 6.0
    patience_days: float = 90.0
    seed: int = 0


class Act(NamedTuple):
    """What became of one candidate.

    Attributes:
        name: Of the act.
        candidate: Version; empty if none came of it.
        stages: Where it ended, by region.
        decisions: In the stage in which it ended, until the first region took it back or the last had it.
        steps: All its steps.
        why: What the last step rests on, or why there was none.
    """

    name: str
    candidate: str
    stages: dict[str, str]
    decisions: int
    steps: list[Transition]
    why: str


class Rehearsal:
    """Plays the acts one after the other.

    Args:
        folder: Of the store and the bundles, made anew.
        gates: Conditions.
        extent: How much traffic there is.
        tell: Is told what happens.
    """

    def __init__(self, folder: Path, gates: Gates, extent: Extent, tell: Teller) -> None:
        self._folder, self._gates, self._extent, self._tell = folder, gates, extent, tell
        self._clock = Clock()
        self._start = self._clock.now
        self.store = Store(folder / "store", self._clock, create=True)
        keep_gates(self.store, gates)
        self._usual = sessions_of(usual(), range(extent.crowd))
        self._moved = sessions_of(moved(), range(extent.crowd))
        self._world = self._usual
        env = Compression([usual()], CODECS)
        made = folder / "estimate.zip"
        bundle = rule_bundle(made, "estimate", env, range(200), 1000)
        incumbent = self.store.add_model(made, bundle.manifest)
        self.store.set_role("incumbent", incumbent.version)
        self._traffic = Traffic(
            self.store,
            self._clock,
            daily=extent.daily,
            regions=extent.regions,
            explore=extent.explore,
            told=extent.told,
            rng=stream(extent.seed, "traffic"),
        )

    def play(self, *, short: bool = False) -> list[Act]:
        """The acts: a good candidate, one that is no better, bad ones, a world that moves.

        Args:
            short: Whether to leave out what takes a further training.
        """
        self._say("estimate answers everything; decisions are logged for a week")
        self._run_days(7)
        acts = [self._successor("a good candidate")]
        self._run_days(1)
        rule = self._version("estimate")
        acts.append(self._roll_out("the rule that it replaced", rule))
        if not short:
            acts.append(self._successor("a successor that is no better"))
            acts += self._bad_ones()
        self._say("the site changes its providers: half the rate, twice as far, packets are lost")
        self._world = self._moved
        for number in range(_TRIES):
            self._run_days(5)
            acts.append(self._successor(f"a successor for the world that has moved, {number + 1}"))
            if set(acts[-1].stages.values()) == {STAGES[-1]}:
                break
        return acts

    def _successor(self, name: str) -> Act:
        """Retrain if it is due, and roll out what comes of it."""
        due = reasons(self.store, self._gates.retraining)
        for line in due or ["estimate is a rule: its first successor is asked for by a person"]:
            self._say(f"due: {line}")
        made = retrain(self.store, self._gates.retraining, self._folder, self._extent.seed)
        verdict = "becomes the candidate" if made.validation.passed else "is no candidate"
        self._say(f"{made.name} ({made.version}) {verdict}: {made.validation.why}")
        if not made.validation.passed:
            return Act(name, "", {}, 0, [], made.validation.why)
        return self._roll_out(name, made.version)

    def _bad_ones(self) -> list[Act]:
        """A good model whose answers are carried out wrongly, then late under load: shadow sees neither."""
        model, acts = self._version("retrained-2"), []
        for name, fault in (
            ("a good model whose answers are carried out wrongly", Fault(dear=1.3)),
            ("the same, mended, but slow under load", Fault(slow=0.05)),
        ):
            self._traffic.faults = {model: fault}
            acts.append(self._roll_out(name, model))
        self._traffic.faults = {}
        return acts

    def _version(self, name: str) -> str:
        """The model of that name."""
        return next(one.version for one in self.store.models().values() if one.name == name)

    def _roll_out(self, name: str, version: str) -> Act:
        """Begin in every region, and watch until it is taken back or answers everything."""
        before = max((step.seq for step in self.store.transitions()), default=0)
        name_candidate(self.store, version)
        rollout = Rollout(self.store, self._gates)
        for region in self._extent.regions:
            self._tell_step(rollout.advance(region, "the rehearsal begins it"))
        end = self._clock.now + self._extent.patience_days * DAY_S
        while self._clock.now < end:
            self._run_days(self._extent.look_hours / 24)
            for step in rollout.tick():
                self._tell_step(step)
            if set(self.store.stages(version).values()) <= {STAGES[0], STAGES[-1]}:
                break
        for region, stage in self.store.stages(version).items():
            if stage not in (STAGES[0], STAGES[-1]):
                days = self._extent.patience_days
                self._tell_step(rollout.roll_back(region, f"no evidence either way in {days:g} days"))
        steps = [one for one in self.store.transitions(candidate=version) if one.seq > before]
        last = steps[-1]
        since = max(step.time for step in steps if step.target == last.source)
        read = self.store.decisions(region=last.region, since=since, until=last.time)
        return Act(name, version, self.store.stages(version), len(read), steps, last.why)

    def _run_days(self, days: float) -> None:
        """Let time pass in pieces of a day at most."""
        for _ in range(int(days)):
            self._traffic.run(self._world, 24.0)
        if rest := days - int(days):
            self._traffic.run(self._world, 24.0 * rest)

    def _tell_step(self, step: Transition) -> None:
        self._say(f"{step.region} {step.candidate}: {step.source} -> {step.target}: {step.why}")

    def _say(self, line: str) -> None:
        self._tell(f"day {(self._clock.now - self._start) / DAY_S:5.1f}  {line}")
