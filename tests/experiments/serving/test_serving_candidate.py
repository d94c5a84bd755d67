"""Answers with a candidate beside them: one that is good, hangs, dies, raises or lies, and never disturbs."""

import asyncio
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import helper, numpy_helper

from experiments.rollout.assignment import SHARES, takes_candidate
from experiments.serving.channel import WORKER
from experiments.serving.decider import Asking, QuestionError
from experiments.serving.journal import JournalFullError
from experiments.serving.limits import Limits
from experiments.serving.roles import take_roles
from experiments.serving.service import Service
from experiments.shadow.store import Store
from experiments.shadow.store_rows import EVERYWHERE, Outcome, Transition
from sim.errors import InputError

PATIENCE_S = 60.0
FEATURES = {"rtt_ms": 5.0, "loss": 1.0, "size_mb": 0.0}
"""The incumbent's scores are 5 and 1, zstd; the candidate's 1 and 5, hde."""
QUICK = Limits(shadow_s=0.5, canary_s=0.02, hang_s=0.6, cooldown_s=0.2, batch_s=0.02, look_s=0.1)

PATIENT = Limits(canary_s=30.0, shadow_s=30.0, hang_s=30.0, batch_s=0.02)

PLAY = """
import sys, time, numpy as np
from experiments.serving.frames import READY, Frames
from experiments.serving.worker import answer_all, own_pipes
frames, (questions, answers) = Frames(3, 2), own_pipes()
count = 0
def ask(values, mask):
    global count
    count += 1
    BODY
    return 1, np.array([1, 5], np.float32)
answers.write(frames.answer(0, READY, 0, 0.0, np.zeros(2, np.float32)))
answer_all(frames, ask, questions, answers)
"""
BODIES = {
    "good": "pass",
    "hangs": "time.sleep(1000)",
    "dies": "sys.exit(3)",
    "raises": "raise ValueError('wrong')",
    "lies": "return 7, np.array([1, 5], np.float32)",
    "prints": "print('x' * 100, flush=True)",
}


@pytest.fixture
def worker(tmp_path):
    """Command of a candidate that plays a part."""

    def make(part):
        path = tmp_path / f"{part}.py"
        path.write_text(PLAY.replace("BODY", BODIES[part]))
        return (sys.executable, str(path))

    return make


@pytest.fixture
def store(tmp_path, linear):
    """A store with two models that answer the other way round, the candidate in shadow everywhere."""
    made = Store(tmp_path / "store", time.time, create=True)
    turned = np.ascontiguousarray(linear.weights[:, ::-1])
    answers = (linear.rows @ turned).argmax(axis=1)
    paths = [tmp_path / "incumbent", tmp_path / "candidate"]
    linear.write(paths[0], name="incumbent")
    linear.write(paths[1], graph=linear.graph(turned), answers=answers, name="candidate")
    take_roles(made, *paths)
    yield made
    made.close()


def serving(store, work, worker=WORKER, limits=QUICK, patience_s=PATIENCE_S):
    """What work(service) gives, with the service running around it."""

    async def run():
        service = Service(store, limits, worker, move=False)
        service._watch = [sys.executable, "-c", "input()"]
        await service.start()
        try:
            return await work(service)
        finally:
            await service.close()

    return asyncio.run(asyncio.wait_for(run(), patience_s))


async def until(true, patience_s=PATIENCE_S):
    """Wait until a condition holds."""
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.01)


async def ready(service):
    await until(lambda: service.now.channel.state == "ready")


def in_stage(store, stage, region=EVERYWHERE):
    candidate = store.role("candidate")
    source = store.stages(candidate).get(region, "offline")
    store.record(Transition(0, 0.0, region, candidate, source, stage, "test", "operator", {}))


def test_in_shadow_the_incumbent_answers_and_the_candidate_is_logged(store):
    async def work(service):
        await ready(service)
        return [await service.decide(Asking(FEATURES, key=str(n))) for n in range(20)]

    given = serving(store, work, limits=PATIENT)
    assert {(one.action, one.arm, one.model) for one in given} == {
        ("zstd", "incumbent", store.role("incumbent"))
    }
    read = store.decisions()
    assert list(read["id"]) == [one.id for one in given]
    assert (set(read["action"]), set(read["candidate_action"])) == ({"zstd"}, {"hde"})
    assert (set(read["error"]), set(read["propensity"]), set(read["stage"])) == ({None}, {1.0}, {"shadow"})
    assert (read["candidate_ms"] > 0).all()
    assert dict(zip(read.names, read.features[0], strict=True)) == FEATURES


@pytest.mark.parametrize(
    ("part", "errors"),
    [
        ("hangs", {"circuit", "starting"}),
        ("dies", {"crashed", "circuit", "starting"}),
        ("raises", {"refused", "circuit"}),
        ("lies", {"refused", "circuit"}),
    ],
)
@pytest.mark.parametrize("stage", ["shadow", "full"])
def test_a_bad_candidate_changes_no_answer(store, worker, part, errors, stage):
    if stage == "full":
        in_stage(store, "full")

    async def work(service):
        await ready(service)
        given, end = [], time.monotonic() + PATIENCE_S / 2
        stopped = {"circuit", "starting"}
        while time.monotonic() < end and not (len(given) > 40 and given[-1].asked.error in stopped):
            given.append(await service.decide(Asking(FEATURES, key=str(len(given)))))
            await asyncio.sleep(0.005)
        return given

    given = serving(store, work, worker(part))
    assert {(one.action, one.arm) for one in given} == {("zstd", "incumbent")}
    read = store.decisions()
    assert list(read["id"]) == [one.id for one in given]
    assert set(read["candidate_action"]) == {None}
    assert set(read["error"]) & errors
    assert set(read["error"]) <= errors | {"late"}


def test_what_a_candidate_prints_is_no_answer(store, worker):
    async def work(service):
        await ready(service)
        await service.decide(Asking(FEATURES))

    serving(store, work, worker("prints"), PATIENT)
    assert list(store.decisions()["candidate_action"]) == ["hde"]


def test_a_hung_candidate_is_replaced(store, worker):
    async def work(service):
        await ready(service)
        channel = service.now.channel
        first = channel._process.pid
        await service.decide(Asking(FEATURES))
        await until(lambda: channel.restarts and channel.state != "starting")
        return first, channel._process.pid

    before, after = serving(store, work, worker("hangs"))
    assert before != after


def test_a_canary_answers_its_share_of_the_keys_and_always_the_same(store):
    in_stage(store, "canary_25", "eu")

    async def work(service):
        await ready(service)
        keys = [f"vm-{number % 100}" for number in range(300)]
        given = [(key, await service.decide(Asking(FEATURES, "eu", key))) for key in keys]
        return given, await service.decide(Asking(FEATURES, "us", "vm-1"))

    given, elsewhere = serving(store, work, limits=PATIENT)
    candidate = store.role("candidate")
    for key, one in given:
        mine = takes_candidate(key, "eu", candidate, SHARES["canary_25"])
        assert (one.arm, one.action) == (("candidate", "hde") if mine else ("incumbent", "zstd"))
    assert (elsewhere.arm, elsewhere.action) == ("incumbent", "zstd")
    read = store.decisions(region="eu")
    assert set(zip(read["arm"], read["propensity"], strict=True)) == {
        ("candidate", 0.25),
        ("incumbent", 0.75),
    }
    assert set(store.decisions(region=EVERYWHERE)["stage"]) == {"shadow"}


def test_what_is_not_allowed_is_answered_by_neither(store):
    in_stage(store, "full")

    async def work(service):
        await ready(service)
        return await service.decide(Asking(FEATURES, allowed=["zstd"]))

    given = serving(store, work, limits=PATIENT)
    assert (given.action, given.arm) == ("zstd", "candidate")
    assert store.decisions()["allowed"][0] == ("zstd",)


def test_an_incumbent_that_fails_leaves_the_answer_to_one_fixed_action(store):
    async def work(service):
        service.now.bundle.answer = None
        one = await service.decide(Asking(FEATURES))
        other = await service.decide(Asking(FEATURES, allowed=["hde"]))
        return (one.action, one.arm), (other.action, other.arm)

    # On its parity rows the incumbent answers 0, 1, 0, 0: zstd most often.
    assert serving(store, work) == (("zstd", "fallback"), ("hde", "fallback"))
    assert set(store.decisions()["incumbent_action"]) == {None}


def test_probabilities_are_told_where_scores_are_probabilities(tmp_path, linear):
    nodes = [
        helper.make_node("MatMul", ["obs", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0),
    ]
    obs = helper.make_tensor_value_info("obs", 1, ["batch", 3])
    model = linear.model(nodes, [obs], [numpy_helper.from_array(linear.weights, "weights")])
    del model.metadata_props[:]
    helper.set_model_props(model, {"action_sizes": "[2]", "scores": "probabilities"})
    linear.write(tmp_path / "soft", graph=model)
    store = Store(tmp_path / "store", time.time, create=True)
    take_roles(store, tmp_path / "soft", None)

    async def work(service):
        return await service.decide(Asking({"rtt_ms": 3.0, "loss": 1.0, "size_mb": 0.0}))

    given = serving(store, work)
    expected = 1 / (1 + np.exp(-2.0))
    assert given.confidence == pytest.approx(expected, rel=1e-6)
    assert given.probabilities == pytest.approx([expected, 1 - expected], rel=1e-5)
    store.close()


def test_questions_about_what_nobody_knows_are_refused_with_a_guess(store):
    async def work(service):
        with pytest.raises(QuestionError, match=r"features.rtt_m: no such feature; did you mean 'rtt_ms'\?"):
            await service.decide(Asking({"rtt_m": 1.0}))
        with pytest.raises(QuestionError, match="allowed: no such action 'gzip'; known: zstd, hde"):
            await service.decide(Asking({}, allowed=["gzip"]))

    serving(store, work)
    assert len(store.decisions()) == 0


def test_an_acknowledged_outcome_has_all_earlier_decisions_before_it_on_the_disk(store, worker):
    async def work(service):
        await ready(service)
        given = [await service.decide(Asking(FEATURES)) for _ in range(30)]
        sent = [Outcome(given[-1].id, 1.0, 2.0), Outcome("nobody", 1.0, 2.0)]
        return given, await service.settle(sent), list(store.decisions()["id"])

    given, receipts, written = serving(store, work, worker("hangs"))
    assert receipts == ["stored", "unknown"]
    assert written == [one.id for one in given]


def test_a_disk_that_refuses_keeps_no_answer_back_and_loses_nothing(store):
    async def work(service):
        write, broken = store.write, True

        def refuse(*what):
            if broken:
                raise InputError("store", "", "disk full")
            return write(*what)

        store.write = refuse
        given = [await service.decide(Asking(FEATURES)) for _ in range(5)]
        await until(lambda: service.trouble == "store: disk full")
        with pytest.raises(JournalFullError):
            await service.settle([Outcome(given[0].id, 1.0, 2.0)])
        broken = False
        await until(lambda: not service.trouble)
        return given, await service.settle([Outcome(given[0].id, 1.0, 2.0)])

    given, receipts = serving(store, work)
    assert receipts == ["stored"]
    assert list(store.decisions()["id"]) == [one.id for one in given]


def test_a_new_role_is_taken_up_while_questions_are_answered(store, tmp_path, linear):
    async def work(service):
        await ready(service)
        models = [service.now.incumbent.model.version]
        store.set_role("incumbent", store.role("candidate"))
        store.set_role("candidate", None)
        end = time.monotonic() + PATIENCE_S
        while models[-1] == models[0] and time.monotonic() < end:
            one = await service.decide(Asking(FEATURES))
            models.append(one.model)
            await asyncio.sleep(0.001)
        return one, service.now.channel

    one, channel = serving(store, work)
    assert (one.action, one.arm, channel) == ("hde", "incumbent", None)
    assert set(store.decisions()["arm"]) == {"incumbent"}


def test_a_role_that_cannot_be_taken_up_changes_nothing(store, capsys):
    async def work(service):
        before = service.now
        store.bundle(store.role("candidate")).write_bytes(b"no bundle")
        store.set_role("incumbent", store.role("candidate"))
        await service.reload()
        return before is service.now

    assert serving(store, work)
    assert "not taken up" in capsys.readouterr().err


def test_a_candidate_on_its_way_is_not_pushed_aside(store, tmp_path, linear):
    in_stage(store, "canary_5", "eu")
    linear.write(tmp_path / "third", name="third")
    before = store.role("candidate")
    with pytest.raises(InputError, match="is on its way in \\*, eu; wait, or `dwcp-gym shadow rollback`"):
        take_roles(store, None, tmp_path / "third")
    assert store.role("candidate") == before
    in_stage(store, "offline", "eu")
    in_stage(store, "offline")
    take_roles(store, None, tmp_path / "third")
    assert store.role("candidate") != before
    assert store.stages(store.role("candidate")) == {EVERYWHERE: "shadow"}


def test_models_of_other_actions_or_several_choices_are_refused(store, tmp_path, linear):
    from experiments.serving.deployment import check_choice, deploy

    linear.write(tmp_path / "other", name="other", actions=["zstd", "amst"])
    in_stage(store, "offline")
    take_roles(store, None, tmp_path / "other")
    with pytest.raises(InputError, match="expected the incumbent's actions zstd, hde, got zstd, amst"):
        deploy(store, QUICK)
    with pytest.raises(InputError, match="one choice"):
        check_choice(SimpleNamespace(name="joint", face=SimpleNamespace(sizes=(2, 3))))
