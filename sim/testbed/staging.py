"""Scenarios and episodes as the testbed can stage them: one steady path, real cores, versions of one size."""

from dataclasses import replace
from typing import Final

import numpy as np

from sim.episode import Episode, draw_episode
from sim.faults import FaultModel
from sim.links import LinkModel
from sim.scenarios import PathSpec, Scenario
from sim.testbed.paths import PathSettings

WINDOW_SHARE: Final = 0.55
"""Window that Linux makes of a receive buffer: 0.50 to 0.61 of it (measured)."""


def staged_scenario(scenario: Scenario, path: PathSettings, *, cores: int, transfers: int) -> Scenario:
    """What of a scenario can be had for real: workload, prices, slots and probes, on the path that is set.

    Its own paths, background load, cross traffic and faults of path and host give way to what is there.
    Transfers that break and baselines that are lost stay.

    Args:
        scenario: Whose workload.
        path: What the emulated path is set to.
        cores: Cores that encode.
        transfers: How many in an episode.
    """
    first = scenario.paths[0]
    link = LinkModel(capacity=path.rate_bytes_s, rtt_s=path.rtt_s, loss=path.loss)
    kept = FaultModel(
        baseline_losses_per_hour=scenario.faults.baseline_losses_per_hour,
        broken_share=scenario.faults.broken_share,
    )
    only = PathSpec(
        link,
        link_type=first.link_type,
        control=first.control,
        window_bytes=WINDOW_SHARE * path.receive_buffer_bytes,
        queue_bdp=path.queue_bytes / (path.rate_bytes_s * path.rtt_s),
    )
    host = replace(scenario.host, cores=cores, background=0.0, background_sd=0.0)
    return replace(scenario, paths=(only,), host=host, faults=kept, requests=transfers, any_path=False)


def staged_episode(scenario: Scenario, seed: int) -> Episode:
    """An episode of a staged scenario, in which each version of a dataset is as large as the first.

    Drawn sizes differ by 10 % from one version to the next without saying what the rest is.
    """
    episode = draw_episode(scenario, seed)
    _, first, back = np.unique(episode.requests.dataset, return_index=True, return_inverse=True)
    sizes = episode.requests.size_bytes[first][back]
    return replace(
        episode,
        requests=episode.requests._replace(size_bytes=sizes),
        payloads=episode.payloads._replace(size_bytes=sizes),
    )
