"""Episodes as rows of the shelf that lanes read from."""

from collections.abc import Sequence

import numpy as np

from sim.batch.layout import CODEC, Lanes, Rows
from sim.codecs import Codec
from sim.episode import Episode
from sim.estimates import PLACES, coders
from sim.jit import njit
from sim.paths import steady_rates
from sim.scenarios import LINK_TYPES
from sim.transfers import plain_rates


def codec_rows(codecs: Sequence[Codec]) -> Rows:
    """Codecs as rows of `sim.batch.layout.CODEC`."""
    rows = [
        (
            codec.streams,
            codec.keeps_baseline,
            codec.family == "hde_xor",
            codec.family == "amst",
            codec.name.startswith("zstd"),
            PLACES[codec.family],
        )
        for codec in codecs
    ]
    return np.array(rows, CODEC)


@njit
def _note_coders(requests: Rows, count: int) -> None:
    """Write what a sender makes of the samples of the first of some requests."""
    for request in range(count):
        row = requests[request]
        row["whole_ratio"], row["sample_encode"], row["sample_decode"] = coders(
            row["sample_ratio"], row["kind"], row["size_bytes"]
        )


def needed(episode: Episode) -> dict[str, int]:
    """Room that an episode needs, by the names of `sim.batch.layout.empty_lanes`."""
    return {
        "requests": len(episode),
        "paths": len(episode.path_limits),
        "pieces": len(episode.conditions.times),
        "probes": len(episode.probes.values),
        "losses": max(1, len(episode.faults.baseline_loss_s)),
        "slots": min(episode.scenario.slots, len(episode)),
        "datasets": len(episode.content.tau_s),
    }


def pack(w: Lanes, place: int, episode: Episode, codecs: Sequence[Codec]) -> None:
    """Put an episode on a place of the shelf; there must be room."""
    scenario, host, requests = episode.scenario, episode.scenario.host, episode.requests
    count, paths = len(episode), len(episode.path_limits)
    pieces, probes = len(episode.conditions.times), len(episode.probes.values)
    losses = len(episode.faults.baseline_loss_s)
    w.sites[place] = (
        count,
        paths,
        pieces,
        probes,
        losses,
        episode.start_hour,
        host.cores,
        host.baseline_memory,
        host.max_age_s,
        host.max_deltas,
        scenario.slots,
        scenario.any_path,
        scenario.cpu_price,
        scenario.late_price,
        episode.probes.period_s,
    )
    for number, spec in enumerate(scenario.paths):
        slots = np.inf if spec.slots is None else spec.slots
        w.paths[place, number] = (episode.nominal[number], LINK_TYPES.index(spec.link_type), slots)
    content, payloads = episode.content, episode.payloads
    columns = {
        "arrival_s": requests.arrival_s,
        "dataset": requests.dataset,
        "size_bytes": requests.size_bytes,
        "priority": requests.priority,
        "deadline_s": episode.deadline_s,
        "path": episode.path,
        "kind": payloads.kind,
        "entropy": payloads.entropy,
        "sample_ratio": payloads.sample_ratio,
        "repetition": payloads.repetition,
        "ratio3": payloads.ratio3,
        "novelty": payloads.novelty,
        "working_set": content.working_set[requests.dataset],
        "tau_s": content.tau_s[requests.dataset],
        "shifted": content.shifted[requests.dataset],
        "encode_noise": payloads.encode_noise,
        "decode_noise": payloads.decode_noise,
        "changed_noise": episode.changed_noise,
        "break_share": episode.faults.break_share,
    }
    for name, values in columns.items():
        w.requests[name][place, :count] = values
    _note_coders(w.requests[place], count)
    for name, table in zip(w.plain.dtype.names or (), plain_rates(payloads, codecs), strict=True):
        w.plain[name][place, :count] = np.transpose(table)
    w.gaps[place, :count] = episode.loss_gaps
    w.by_deadline[place, :count] = np.argsort(episode.deadline_s, kind="stable")
    w.times[place, :pieces] = episode.conditions.times
    w.links[place, :pieces, :paths] = episode.conditions.links
    steady_rates(episode.conditions.links, episode.path_limits, w.steady[place])
    w.cores[place, :pieces] = episode.conditions.cores
    w.limits[place, :paths] = episode.path_limits
    w.probes[place, :probes, :paths] = episode.probes.values
    w.losses[place, :losses, 0] = episode.faults.baseline_loss_s
    w.losses[place, :losses, 1] = episode.faults.baseline_loss_dataset
