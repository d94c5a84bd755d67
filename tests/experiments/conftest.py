"""A small run whose every figure can be worked out by hand: cost is a base of the episode times a factor."""

import itertools

import pandas as pd
import pytest

from experiments.evidence import METRICS, Evidence

KIND = {
    "zstd": "static",
    "hde": "static",
    "ensemble": "supervised",
    "ppo": "learner",
    "one_step_oracle": "oracle",
    "best_found": "search",
}
VALIDATION, TEST, SEARCHED = range(100, 104), range(200, 206), range(200, 203)
FACTORS = {
    ("wan", "validation"): {"zstd": 1.0, "hde": 1.2, "ensemble": 0.9, "ppo": 0.7, "one_step_oracle": 0.8},
    ("wan", "test"): {"zstd": 1.0, "hde": 0.95, "ensemble": 0.9, "ppo": 0.7, "one_step_oracle": 0.8},
    ("lan", "validation"): {"zstd": 1.02, "hde": 1.0, "ensemble": 1.0, "ppo": 1.1, "one_step_oracle": 1.0},
    ("lan", "test"): {"zstd": 1.02, "hde": 1.0, "ensemble": 1.0, "ppo": 1.1, "one_step_oracle": 1.0},
}
FOUND = {"wan": 0.5, "lan": 0.98}
SPREAD = {0: -0.01, 1: 0.01}
"""What a training seed adds to the learner's factor."""


def _row(policy: str, seed: int, scenario: str, split: str, episode: int, factor: float) -> dict[str, object]:
    cost = (100.0 + 10.0 * (episode % 100)) * factor
    row: dict[str, object] = dict.fromkeys(METRICS, 0.5)
    row.update(policy=policy, kind=KIND[policy], training_seed=seed, scenario=scenario, split=split)
    row.update(
        episode=episode, decisions=4, cost_s=cost, completion_cost_s=0.75 * cost, cpu_cost_s=0.25 * cost
    )
    row.update(act_us=float("nan") if policy == "best_found" else 20.0)
    return row


@pytest.fixture
def evidence() -> Evidence:
    rows = []
    for (scenario, split), factors in FACTORS.items():
        episodes = VALIDATION if split == "validation" else TEST
        for (policy, factor), episode in itertools.product(factors.items(), episodes):
            for seed, extra in SPREAD.items() if policy == "ppo" else [(-1, 0.0)]:
                rows.append(_row(policy, seed, scenario, split, episode, factor + extra))
    for (scenario, factor), episode in itertools.product(FOUND.items(), SEARCHED):
        rows.append(_row("best_found", -1, scenario, "test", episode, factor))
    decisions = pd.DataFrame(
        {"action": ["hde", "hde", "zstd", "zstd"], "oracle_action": ["hde", "hde", "hde", "zstd"]}
    )
    decisions = decisions.assign(policy="ppo", training_seed=0, scenario="wan", episode=200, step=range(4))
    curves = pd.DataFrame(
        [
            ("ppo", seed, step, 0.9 + 10 * extra - step / 1000, -1.0)
            for seed, extra in SPREAD.items()
            for step in (0, 100)
        ],
        columns=["policy", "training_seed", "step", "validation_cost", "train_return"],
    )
    return Evidence(pd.DataFrame(rows), decisions, curves)
