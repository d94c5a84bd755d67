"""The suite at work: contenders play, results are verified, hashes are drawn anew; in many processes."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from experiments.splits import Split
from experiments.suite.contenders import BUNDLE, CATALOGUE, Contender, maker
from experiments.suite.definition import PLAYED, Suite, hashes_of, shipped
from experiments.suite.playing import TOLERANCE, IllegalError, Stage, answer_shape
from experiments.suite.result import Part, Result, Told, part_of, unpack
from experiments.work import Crew
from sim.errors import InputError

_ABREAST: Final = 320
"""Episodes played side by side: a step of many lanes takes little longer than one of few."""
_TEAM: Final = 6
"""Contenders that one worker lets play on the same episodes, one after the other."""


class Cell(NamedTuple):
    """Where a policy plays: one scenario and split of a question."""

    task: str
    scenario: str
    split: Split


class Verdict(NamedTuple):
    """What came of replaying a part of a result.

    Attributes:
        cell: Which.
        seed: Of the training.
        problem: Why it is refused; empty if it is as it says.
        difference: Largest relative difference of a cost.
        replayed: Episodes whose answers were replayed; of the others the policy itself was played again.
        played: Episodes that the policy itself was played on again.
    """

    cell: Cell
    seed: int
    problem: str
    difference: float
    replayed: int
    played: int


def cells(suite: Suite, task: str, scenarios: Sequence[str] = (), splits: Sequence[str] = ()) -> list[Cell]:
    """Cells of a question, all or those of some scenarios and splits.

    Raises:
        InputError: If the question has no such scenario or split.
    """
    known = suite.scenarios(task)
    for name in scenarios:
        if name not in known:
            raise InputError("--scenario", "", f"{task} has no '{name}'; there are {', '.join(known)}")
    for split in splits:
        if split not in PLAYED:
            raise InputError("--split", "", f"expected one of {', '.join(PLAYED)}, got '{split}'")
    return [
        Cell(task, scenario, split)
        for scenario, compared in known.items()
        for split in (PLAYED[:2] if compared == "test" else PLAYED[2:])
        if (not scenarios or scenario in scenarios) and (not splits or split in splits)
    ]


class _Show(NamedTuple):
    """What a worker plays: contenders in cells of one question, the episodes of all side by side."""

    cells: tuple[Cell, ...]
    contenders: tuple[Contender, ...]
    keep: bool


def perform(
    crew: Crew, contenders: Sequence[Contender], wanted: Sequence[Cell], *, keep: bool = True
) -> list[Result]:
    """Let contenders play in all cells of their question; one result each, its trainings in it.

    Args:
        crew: Who works.
        contenders: Trainings of one policy have one name and seeds of their own.
        wanted: Where.
        keep: Whether results hold the answers, and not only their hash.
    """
    suite = shipped()
    shows = [
        _Show(block, tuple(asked), keep)
        for task in dict.fromkeys(cell.task for cell in wanted)
        for block in _blocks(suite, [cell for cell in wanted if cell.task == task])
        for asked in _teams([one for one in contenders if one.task == task])
    ]
    found = crew.map("playing", _play, shows)
    parts: dict[tuple[str, str], list[Part]] = {}
    for show, of_each in zip(shows, found, strict=True):
        for contender, own in zip(show.contenders, of_each, strict=True):
            parts.setdefault((contender.task, contender.name), []).extend(own)
    first = {(one.task, one.name): one for one in reversed(contenders)}
    return [
        Result(_told(suite, first[key]), tuple(sorted(own, key=lambda part: part.seed)))
        for key, own in parts.items()
    ]


def _blocks(suite: Suite, wanted: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """Cells of one question in blocks of so many episodes as are played side by side."""
    blocks: list[list[Cell]] = [[]]
    for cell in wanted:
        if blocks[-1] and sum(suite.count(one.split) for one in [*blocks[-1], cell]) > _ABREAST:
            blocks.append([])
        blocks[-1].append(cell)
    return [tuple(block) for block in blocks]


def _teams(contenders: Sequence[Contender]) -> list[list[Contender]]:
    """Contenders in groups for a worker each."""
    return [list(contenders[start : start + _TEAM]) for start in range(0, len(contenders), _TEAM)]


def verify(
    crew: Crew, results: Sequence[Result], *, simpy: bool = False, bundles: Sequence[Contender] = ()
) -> list[list[Verdict]]:
    """Replay the answers of results on the world, and play those policies again that are at hand.

    Args:
        crew: Who works.
        results: Of this suite.
        simpy: Replay in SimPy's world, in place of compiled lanes.
        bundles: Those at hand, besides the catalogue.

    Returns:
        Of each result a verdict a part.
    """
    trials = [
        _Trial(
            Cell(result.told.task, part.scenario, part.split),
            result.told,
            part,
            simpy,
            _at_hand(result.told, bundles),
        )
        for result in results
        for part in result.parts
    ]
    order = sorted(range(len(trials)), key=lambda number: trials[number].cell)  # a worker keeps its stage
    found = dict(zip(order, crew.map("verifying", _try, [trials[n] for n in order]), strict=True))
    verdicts = iter([found[number] for number in range(len(trials))])
    return [[next(verdicts) for _ in result.parts] for result in results]


def missing(suite: Suite, result: Result) -> list[str]:
    """What a result lacks to be set beside others; empty if nothing."""
    told, seeds = result.told, {part.seed for part in result.parts}
    if told.suite != suite.digest:
        return [f"is of another suite, {told.suite}; this one is {suite.digest}: play it again"]
    wanted = {
        (seed, cell.scenario, cell.split): suite.count(cell.split)
        for cell in cells(suite, suite.task(told.task).name)
        for seed in seeds
    }
    has = {(part.seed, part.scenario, part.split): len(part.costs) for part in result.parts}
    if len(has) < len(result.parts):
        return ["has a scenario and split twice for one training"]
    lacking = [f"{scenario} ({split})" for (_, scenario, split), n in wanted.items()
               if has.get((_, scenario, split)) != n]  # fmt: skip
    strange = [f"{scenario} ({split})" for _, scenario, split in has.keys() - wanted.keys()]
    return [f"lacks episodes of {', '.join(dict.fromkeys(lacking))}"] * bool(lacking) + [
        f"has {', '.join(strange)}, which the suite has not"
    ] * bool(strange)


def frozen(crew: Crew, suite: Suite) -> dict[tuple[str, Split], list[str]]:
    """Hashes of all episodes of the shipped suite as they are drawn now."""
    pairs = list(suite.all_splits())
    return dict(zip(pairs, crew.map("drawing", _draw, pairs), strict=True))


def _draw(pair: tuple[str, Split]) -> list[str]:
    return hashes_of(shipped(), *pair)


def _told(suite: Suite, contender: Contender) -> Told:
    source = {contender.origin: contender.proof}
    return Told(suite.digest, contender.task, contender.name, contender.kind, contender.about, source)


@lru_cache(maxsize=1)
def _stage(*cells: Cell) -> Stage:
    suite = shipped()
    episodes = [one for cell in cells for one in suite.episodes(cell.scenario, cell.split)]
    return Stage(suite.make_env(cells[0].task), episodes)


def _play(show: _Show) -> list[list[Part]]:
    env, stage = shipped().make_env(show.cells[0].task), _stage(*show.cells)
    ends = np.cumsum([shipped().count(cell.split) for cell in show.cells]).tolist()
    found = []
    for one in show.contenders:
        played = stage.play(maker(one, env))
        found.append(
            [
                part_of(one.seed, cell.scenario, cell.split, played[start:end], keep=show.keep)
                for cell, start, end in zip(show.cells, [0, *ends], ends, strict=False)
            ]
        )
    return found


class _Trial(NamedTuple):
    """What a worker verifies."""

    cell: Cell
    told: Told
    part: Part
    simpy: bool
    player: Contender | None


def _try(trial: _Trial) -> Verdict:
    try:
        return _tried(trial)
    except KeyError as error:
        problem = f"there is no policy {error} of {trial.cell.task}"
    except (IllegalError, ValueError) as error:
        problem = str(error)
    return Verdict(trial.cell, trial.part.seed, problem, float("nan"), 0, 0)


def _tried(trial: _Trial) -> Verdict:
    cell, _, part, simpy, player = trial
    env, stage = shipped().make_env(cell.task), _stage(cell)
    if not part.packed and player is None:
        raise IllegalError("holds no answers to replay; hand over its --bundle, or play it with --answers")
    differences, problem = [0.0], ""
    if part.packed:
        costs = stage.replay(unpack(part, *answer_shape(env)), simpy=simpy)
        differences += _differences(part, costs)
    if player is not None:
        played = stage.play(maker(player, env))
        differences += _differences(part, [one.cost_s for one in played])
    if max(differences) > TOLERANCE:
        worst = int(np.argmax(differences[1:])) % len(part.costs)
        problem = f"episode {worst} costs {max(differences):.2g} more or less than it says, as a share"
    count = len(part.costs)
    replayed, again = count * bool(part.packed), count * (player is not None)
    return Verdict(cell, part.seed, problem, max(differences), replayed, again)


def _at_hand(told: Told, bundles: Sequence[Contender]) -> Contender | None:
    """The policy that a result is of, if it can be played again."""
    if name := told.source.get(CATALOGUE):
        return Contender(told.task, name, told.kind, "", -1, CATALOGUE, name, name)
    return next((one for one in bundles if one.proof == told.source.get(BUNDLE)), None)


def _differences(part: Part, costs: Sequence[float]) -> list[float]:
    told = np.array(part.costs)
    return [float(value) for value in np.abs(np.array(costs) / told - 1.0)]
