"""What is attainable when losses and paths are drawn anew: on paths where the answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from agents.supervised.attainable import redraw
from agents.supervised.path_moments import PathMoments
from agents.supervised.probe_history import probe_history
from envs.compression import Compression
from sim.catalogue import SCENARIOS
from sim.episode import draw_episode
from sim.randomness import stream
from sim.scenarios import Scenario


def site(**link: float) -> Scenario:
    """One path of the wide area, as the arguments say, with probes that are late and wrong by nothing."""
    wan = SCENARIOS["wan"].with_(requests=6)
    model = replace(wan.paths[0].model, **link)
    return replace(
        wan,
        paths=(replace(wan.paths[0], link=model),),
        probe=replace(wan.probe, noise=0.0, delay_s=0.0),
    )


STILL = {"sigma": 0.0, "rtt_jitter": 0.0, "cross_streams": 0.0, "loss": 0.0}


def test_a_path_that_never_moves_is_what_its_exact_probe_says():
    episodes = [draw_episode(site(**STILL), seed) for seed in (1, 2)]
    moments = PathMoments(episodes, 0, 16, stream(1, "moments"))
    found = moments.links(episodes[0], probe_history(episodes[0].probes), 3.0, 5, stream(1, "draws"))
    assert found == pytest.approx(np.repeat(episodes[0].conditions.links[:1, 0], 5, axis=0))


def test_draws_of_a_path_average_to_its_streams_of_others():
    scenario = site(**{**STILL, "cross_streams": 3.0})
    episodes = [draw_episode(scenario, seed) for seed in range(40)]
    moments = PathMoments(episodes, 0, 32, stream(2, "moments"))
    told = [
        moments.links(one, probe_history(one.probes), 5.0, 16, stream(2, "draws")) for one in episodes[:20]
    ]
    assert np.mean([one[:, 3].mean() for one in told]) == pytest.approx(3.0, rel=0.25)
    free = told[0][:, 0] / (1 + told[0][:, 3])  # whoever is there, what is free is what the probe said
    assert free == pytest.approx(episodes[0].probes.values[5, 0, 2], rel=0.35)


@pytest.mark.parametrize(("loss", "moves"), [(0.0, False), (0.01, True)])
def test_what_a_path_loses_by_chance_is_not_known_to_who_knows_the_path(loss, moves):
    scenario = site(**{**STILL, "loss": loss, "loss_log_sd": 0.0, "loss_zero_share": 0.0, "loss_cap": 0.05})
    env, episode = Compression([scenario], ["none", "zstd"]), draw_episode(scenario, 3)
    moments = [PathMoments([episode], 0, 16, stream(3, "moments"))]
    uncompressed = redraw(env, episode, 4, moments).payload[
        :, :, 0
    ]  # no ratio, and little of a coder's speed
    assert (np.ptp(uncompressed, axis=1) > 0.01 * uncompressed[:, 0]).any() == moves
