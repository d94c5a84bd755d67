"""Playing on lanes is playing in SimPy: what is written down can be replayed, what is changed cannot."""

import numpy as np
import pytest

from agents.play import play
from experiments.suite.contenders import CATALOGUE, Contender, catalogue, maker
from experiments.suite.definition import shipped
from experiments.suite.playing import IllegalError, Stage, answer_shape, remembers
from experiments.suite.result import (
    FORMAT,
    Result,
    Told,
    answers_digest,
    frame,
    pack,
    part_of,
    read_result,
    unpack,
    write_result,
)
from sim.episode import draw_episode
from sim.errors import InputError

SMALL = {"compression": "hybrid", "scheduling": "two-links", "allocation": "wan", "joint": "two-links"}


@pytest.fixture(scope="module")
def stages():
    """Of each question the environment and three short episodes."""
    suite, found = shipped(), {}

    def stage(task: str):
        if task not in found:
            env = suite.make_env(task)
            scenario = suite.scenario(SMALL[task]).with_(requests=12)
            episodes = [draw_episode(scenario, seed) for seed in range(3)]
            found[task] = env, episodes, Stage(env, episodes)
        return found[task]

    return stage


@pytest.mark.parametrize("task", SMALL)
def test_every_policy_of_the_catalogue_costs_on_lanes_what_it_costs_in_simpy(stages, task):
    env, episodes, stage = stages(task)
    for contender in catalogue(shipped(), task):
        make = maker(contender, env)
        costs = [one.cost_s for one in stage.play(make)]
        assert costs == pytest.approx([play(env, one, make()).cost for one in episodes]), contender.name


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("compression", "contention"),
        ("scheduling", "random"),
        ("allocation", "hill_climb"),
        ("joint", "plain"),
    ],
)
def test_answers_that_were_written_down_cost_the_same_when_they_are_replayed(stages, task, name):
    env, _, stage = stages(task)
    played = stage.play(maker(Contender(task, name, "rule", "", -1, CATALOGUE, name, name), env))
    part = part_of(-1, SMALL[task], "test", played, keep=True)
    answers = unpack(part, *answer_shape(env))
    for one, other in zip(played, answers, strict=True):
        np.testing.assert_array_equal(one.answers, other)
    for simpy in (False, True):
        assert stage.replay(answers, simpy=simpy) == pytest.approx([one.cost_s for one in played], rel=1e-9)


def test_answers_that_are_forbidden_too_many_or_too_few_are_refused(stages):
    env, _, stage = stages("scheduling")
    played = stage.play(maker(Contender("scheduling", "fifo", "static", "", -1, CATALOGUE, "fifo", ""), env))
    answers = [one.answers for one in played]
    wrong = answers[1].copy()
    wrong[0] = len(stage._lanes.seen.masks[0]) - 2  # a candidate that cannot wait there yet
    for changed, message in (
        ([answers[0], wrong, answers[2]], "episode 1, answer 0: .* is not allowed there"),
        ([answers[0][:-1], *answers[1:]], "episode 0: expected more than"),
        ([*answers[:2], np.vstack([answers[2], [[0]]])], "episode 2: expected .* answers, got"),
        (answers[:2], "answers of 2 episodes, expected 3"),
    ):
        with pytest.raises(IllegalError, match=message):
            stage.replay(changed)
        if len(changed) == 3:
            with pytest.raises(IllegalError, match=message):
                stage.replay(changed, simpy=True)


def test_what_remembers_is_made_anew_for_each_episode_and_what_does_not_is_asked_in_one_go(stages):
    told = {
        (task, one.name): remembers(maker(one, stages(task)[0])())
        for task in SMALL
        for one in catalogue(shipped(), task)
    }
    assert {name for (_, name), does in told.items() if does} == {
        "hill_climb",
        "gradient",
        "bayesian",
        "random",
    }


@pytest.mark.parametrize(
    "answers",
    [
        np.array([[0], [3], [255]]),
        np.array([[0, 1, 2], [3, 2, 1]]),
        np.array([[0.5, -1.0], [1e-7, 1.0], [0.25, 0.0]], np.float32),
    ],
    ids=["choices", "parts", "numbers"],
)
def test_answers_come_out_of_their_packing_as_they_went_in(answers):
    from experiments.suite.result import Part

    part = Part(-1, "wan", "test", (1.0, 2.0), (1, len(answers) - 1), answers_digest(answers), pack(answers))
    kind = np.float32 if answers.dtype.kind == "f" else np.int64
    first, rest = unpack(part, answers.shape[1], kind)
    np.testing.assert_array_equal(np.vstack([first, rest]), answers)


@pytest.mark.parametrize(
    "torn",
    ["", "not base 64!", pack(np.array([[1], [2]])), pack(np.array([[1], [2], [4]]))],
    ids=["empty", "foreign", "short", "changed"],
)
def test_torn_or_changed_answers_are_refused(torn):
    from experiments.suite.result import Part

    answers = np.array([[1], [2], [3]])
    with pytest.raises(ValueError, match=r"answers|base64|padd"):
        unpack(Part(-1, "wan", "test", (1.0,), (3,), answers_digest(answers), torn), 1, np.int64)


@pytest.fixture
def result(stages) -> Result:
    env, _, stage = stages("compression")
    played = stage.play(maker(Contender("compression", "hde", "static", "", -1, CATALOGUE, "hde", ""), env))
    told = Told(shipped().digest, "compression", "hde", "static", "always hde", {"catalogue": "hde"})
    return Result(told, (part_of(-1, "hybrid", "held-out", played, keep=True),))


def test_a_result_is_read_as_it_was_written(result, tmp_path):
    write_result(result, tmp_path / "hde.json")
    assert read_result(tmp_path / "hde.json") == result
    rows = frame([result])
    assert list(rows["cost_s"]) == list(result.parts[0].costs)
    assert set(rows["policy"]) == {"hde"} and list(rows["episode"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "JSONDecodeError"),
        (lambda text: text.replace(FORMAT, "another"), "another format"),
        (lambda text: text.replace('"kind": "static"', '"kind": "miracle"'), "kind 'miracle'"),
        (lambda text: text.replace('"costs": [', '"costs": [-1.0, '), "costs of hybrid"),
        (lambda text: text.replace('"lengths"', '"widths"'), "lengths"),
    ],
    ids=["torn", "foreign", "kind", "cost", "key"],
)
def test_a_result_that_is_torn_or_foreign_is_refused_in_one_line(result, tmp_path, change, message):
    path = tmp_path / "hde.json"
    write_result(result, path)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message) as error:
        read_result(path)
    assert "\n" not in str(error.value)
