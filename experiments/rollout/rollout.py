"""The rollout of a candidate, region by region: where each stands, what moves it, and the way back."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from experiments.rollout.assignment import SHARES, STAGES
from experiments.rollout.book import Book
from experiments.rollout.evidence import Evidence
from experiments.rollout.expectation import Expectation
from experiments.rollout.gates import Gates, read_gates
from experiments.rollout.verdict import Verdict, decide
from experiments.shadow.store import StaleStageError, Store
from experiments.shadow.store_rows import Transition
from sim.errors import InputError
from sim.settings import digest

GATE: Final = "gate"
OPERATOR: Final = "operator"
"""Who may ask for a step."""
_SETTING: Final = "gates"


class Standing(NamedTuple):
    """Where a candidate is in a region.

    Attributes:
        region: Which.
        candidate: Version.
        stage: Of `STAGES`.
        since: Since when, seconds since 1970; None before the first step.
        evidence: Of this stage; None offline.
        verdict: What it comes to.
    """

    region: str
    candidate: str
    stage: str
    since: float | None
    evidence: Evidence | None
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """As a document."""
        return {
            "region": self.region,
            "candidate": self.candidate,
            "stage": self.stage,
            "share": SHARES[self.stage],
            "since": self.since,
            "move": self.verdict.move,
            "why": self.verdict.why,
            "conditions": [one._asdict() for one in self.verdict.conditions],
            "evidence": None if self.evidence is None else self.evidence.as_json(),
        }


class Rollout:
    """Watches the candidate of a store; keeps what it has read, so that a look costs what is new.

    Several may watch one store: of two that would make the same step, the store lets one.

    Args:
        store: Models, decisions, outcomes and steps.
        gates: Conditions; None takes those that the store keeps, else the published ones.
    """

    def __init__(self, store: Store, gates: Gates | None = None) -> None:
        self._store, self._given = store, gates
        self.gates = gates_of(store) if gates is None else gates
        self._books: dict[int, Book] = {}

    def standings(self) -> list[Standing]:
        """Where the candidate of the store is, in each region that it has a stage in."""
        candidate = self._store.role("candidate")
        if candidate is None:
            return []
        self._take_up()
        return [self.standing(region, candidate) for region in self._store.stages(candidate)]

    def standing(self, region: str, candidate: str) -> Standing:
        """Where a candidate is in a region."""
        steps = self._store.transitions(region=region, candidate=candidate)
        stage = steps[-1].target if steps else STAGES[0]
        since = steps[-1].time if steps else None
        validated = validation_of(self._store, candidate) is not None
        if not steps or stage == STAGES[0]:
            evidence = None
            verdict = decide(stage, _NOTHING, self.gates, validated=validated)
        else:
            book, before = self._book(steps)
            evidence = book.evidence(self.gates, before)
            verdict = decide(stage, evidence, self.gates, validated=validated)
        return Standing(region, candidate, stage, since, evidence, verdict)

    def tick(self) -> list[Transition]:
        """Make every step that evidence asks for: forward by one stage, or back to `offline`.

        Nothing leaves `offline` by itself: an operator begins a rollout, and begins it again.
        """
        made = []
        for one in self.standings():
            if one.stage == STAGES[0] or one.verdict.move == "stay":
                continue
            target = STAGES[0] if one.verdict.move == "back" else _next(one.stage)
            try:
                made.append(self._record(one, target, one.verdict.why, GATE))
            except StaleStageError:
                continue
        return made

    def advance(self, region: str, because: str | None = None) -> Transition:
        """Take the candidate of the store one stage further.

        Args:
            region: Where.
            because: Why even though conditions are not met; None heeds them.

        Raises:
            InputError: If there is no candidate, no further stage, or a condition is not met.
        """
        candidate = self._candidate()
        one = self.standing(region, candidate)
        if one.stage == STAGES[-1]:
            raise InputError(
                region, "", f"{candidate} answers all of the traffic already; roll it back, or stay"
            )
        if because is None and one.verdict.move != "advance":
            way_out = "wait, or give --force and --because"
            raise InputError(region, one.stage, f"{one.verdict.why}; {way_out}")
        why = one.verdict.why if because is None else because
        return self._record(one, _next(one.stage), why, OPERATOR)

    def roll_back(self, region: str, because: str) -> Transition:
        """Take the candidate of the store off the traffic of a region.

        Raises:
            InputError: If there is no candidate, or it answers nobody there and is not asked.
        """
        one = self.standing(region, self._candidate())
        if one.stage == STAGES[0]:
            raise InputError(region, "", f"{one.candidate} is offline here; there is nothing to take back")
        return self._record(one, STAGES[0], because, OPERATOR)

    def _take_up(self) -> None:
        """Heed gates that were changed meanwhile: all is read anew under them."""
        kept = self.gates if self._given is not None else gates_of(self._store)
        if kept != self.gates:
            self.gates, self._books = kept, {}

    def _candidate(self) -> str:
        candidate = self._store.role("candidate")
        if candidate is None:
            problem = "the store has no candidate; `dwcp-gym shadow candidate` or `shadow retrain` names one"
            raise InputError(self._store.folder, "", problem)
        return candidate

    def _record(self, one: Standing, target: str, why: str, by: str) -> Transition:
        evidence = one.as_json() | {"gates": digest(self.gates), "incumbent": self._store.role("incumbent")}
        if one.stage == "shadow" and target != STAGES[0]:
            steps = self._store.transitions(region=one.region, candidate=one.candidate)
            found = self._book(steps)[0].expectation()
            evidence["expectation"] = None if found is None else found._asdict()
        now = self._store.clock()
        step = Transition(0, now, one.region, one.candidate, one.stage, target, why, by, evidence)
        return self._store.record(step)

    def _book(self, steps: list[Transition]) -> tuple[Book, float | None]:
        """The book of the last step's stage, and the accuracy in shadow."""
        last = steps[-1]
        left = next((one for one in reversed(steps) if one.source == "shadow"), None)
        shown = {} if left is None or last.target == "shadow" else left.evidence
        if last.seq not in self._books:
            expected = Expectation.read(shown.get("expectation"))
            self._books[last.seq] = Book(
                self._store, last.candidate, last.region, last.target, last.time, expected
            )
        return self._books[last.seq], (shown.get("evidence") or {}).get("accuracy")


_NOTHING: Final = Evidence(
    0.0,
    {"candidate": 0, "incumbent": 0},
    {"candidate": 0, "incumbent": 0},
    0,
    None,
    None,
    None,
    None,
    None,
    {},
    None,
)


def gates_of(store: Store) -> Gates:
    """The gates that a store keeps, else the published ones."""
    kept = store.setting(_SETTING)
    return read_gates() if kept is None else Gates.model_validate(kept)


def keep_gates(store: Store, gates: Gates) -> None:
    """Keep gates in a store, for all who watch it."""
    store.set_setting(_SETTING, gates.model_dump(mode="json"))


def validation_of(store: Store, candidate: str) -> Any:
    """What `keep_validation` kept for a model; None if it has not beaten who is the incumbent now."""
    found = store.setting(f"validated {candidate}")
    return found if found and found["against"] == store.role("incumbent") else None


def keep_validation(store: Store, candidate: str, against: str, found: Mapping[str, Any]) -> None:
    """Keep that a model costs less than another, with the figures that say so."""
    store.set_setting(f"validated {candidate}", {**found, "against": against})


def name_candidate(store: Store, version: str) -> None:
    """Give a model the candidate's role, offline in every region.

    A candidate that answers all of the traffic of every region becomes the incumbent.

    Raises:
        InputError: If another candidate is on its way.
    """
    before = store.role("candidate")
    if before == version:
        return
    refuse_under_way(store)
    if before and set(store.stages(before).values()) == {STAGES[-1]}:
        store.set_role("incumbent", before)
    store.set_role("candidate", version)


def refuse_under_way(store: Store) -> None:
    """Refuse while a candidate answers some of the traffic, or is asked, and not all of it everywhere.

    Raises:
        InputError: If so.
    """
    before = store.role("candidate")
    stages = store.stages(before) if before else {}
    if set(stages.values()) not in (set(), {STAGES[0]}, {STAGES[-1]}):
        problem = f"{before} is on its way in {', '.join(stages)}"
        raise InputError(store.folder, "", f"{problem}; wait, or `dwcp-gym shadow rollback` it first")


def _next(stage: str) -> str:
    return STAGES[STAGES.index(stage) + 1]
