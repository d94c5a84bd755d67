"""A learner that is kept from features answers the same whatever they say, after a checkpoint, too."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from agents.learners.forward import network_policy
from agents.learners.hiding import hidden_places
from agents.learners.legs import Plan, train
from agents.learners.models import load_model
from agents.learners.settings import Learner
from agents.play import play
from envs.compression import Compression

HIDDEN = ("has_baseline", "baseline_age_s", "deltas")
SMALL = {
    "ppo": {"kind": "ppo", "steps": 512, "envs": 4, "rollout": 16, "batch": 32, "layers": [16]},
    "dqn": {
        "kind": "dqn", "steps": 512, "envs": 4, "buffer": 1000, "batch": 16, "learning_starts": 50,
        "target_update": 64, "layers": [16],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def validate(validation, make_env):
    env = make_env()
    return lambda policy: sum(play(env, one, policy).cost for one in validation)


def config(kind: str, **changed: object):
    return TypeAdapter(Learner).validate_python(SMALL[kind] | {"name": kind, "seeds": [0]} | changed)


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_hidden_features_have_no_weight_after_two_legs_the_second_from_a_checkpoint(
    kind, pool, validate, make_env, tmp_path
):
    learner, env = config(kind, hidden=HIDDEN), make_env()
    plan = Plan(learner, 0, 256, make_env, {})

    def stop(steps: int) -> None:
        if steps:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(plan, pool, validate, tmp_path, stop)
    best, curve = train(plan, pool, validate, tmp_path)
    assert len(curve) == 2
    model = load_model(kind, best)
    places = [env.features.index(name) for name in HIDDEN]
    read = [weight for weight in model.policy.parameters() if weight.shape[1:] == (len(env.features),)]
    assert len(read) == 2  # actor and critic, or network and target
    assert all((weight[:, places] == 0).all() and (weight != 0).any() for weight in read)
    seen = np.random.default_rng(0).uniform(-1, 1, (50, len(env.features))).astype(np.float32)
    other = seen.copy()
    other[:, places] = 0.9
    policy = network_policy(kind, model)
    np.testing.assert_array_equal(policy.scores(seen), policy.scores(other))


def test_what_is_no_feature_or_cannot_be_hidden_is_refused_with_a_way_out():
    env = Compression("wan")
    with pytest.raises(ValueError, match="has no feature 'baseline'; take one of rtt_ms"):
        hidden_places(config("ppo", hidden=["baseline"]), env)
    with pytest.raises(ValueError, match="not 42 wide"):
        hidden_places(config("ppo", hidden=["rtt_ms"], layers=[42]), env)
    with pytest.raises(ValueError, match="not shared"):
        hidden_places(config("ppo", hidden=["rtt_ms"], shared=True), env)
