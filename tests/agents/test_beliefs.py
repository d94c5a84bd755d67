"""What a sender believes: nothing of what it cannot know, and near to what is so where it can tell."""

from dataclasses import replace

import numpy as np
import pytest

from agents.beliefs import believed_future
from agents.supervised.futures import links_at
from sim.catalogue import find_scenario
from sim.episode import draw_episode
from sim.payloads import Content, Payloads

SITES = ("internet", "flash-crowd", "metro")
"""Memoryless arrivals, a rush, and periodic ones."""
SENT = 50
"""Transfers that have been answered; two more have come and wait."""


def present_of(episode):
    return float(episode.requests.arrival_s[SENT + 1]) + 1e-3


def waiting_of(episode):
    after = int(np.searchsorted(episode.requests.arrival_s, present_of(episode), side="right"))
    return np.arange(SENT, after), after


def believed(episode, seed=0):
    return believed_future(episode, present_of(episode), range(SENT), np.random.default_rng(seed))


def otherwise(episode):
    """The same to its sender: other transfers to come, other links later, other truth behind new samples."""
    (waiting, after), when_s = waiting_of(episode), present_of(episode)
    turned = np.arange(len(episode))
    turned[after:] = turned[after:][::-1]
    payloads = Payloads(*(column[turned] for column in episode.payloads))
    content = Content(*(column.copy() for column in episode.content))
    sent = set(episode.requests.dataset[:SENT].tolist())
    for row in (*waiting.tolist(), *range(after, len(episode))):
        if episode.requests.dataset[row] in sent:
            continue
        for name in ("ratio3", "novelty"):
            getattr(payloads, name)[row] = 0.5 + 0.5 * getattr(payloads, name)[row]
        for name in ("ratio3", "novelty", "working_set", "tau_s"):
            getattr(content, name)[episode.requests.dataset[row]] *= 0.7
    requests = episode.requests
    columns = {
        name: getattr(requests, name)[turned]
        for name in ("dataset", "size_bytes", "priority", "deadline_slack")
    }
    arrival_s = requests.arrival_s.copy()
    arrival_s[after:] += 7.0
    links = episode.conditions.links.copy()
    links[episode.conditions.times > when_s, :, 0] *= 3.0
    probed = int(when_s / episode.probes.period_s) + 1
    probes = episode.probes.values.copy()
    probes[probed:] *= 2.0
    return replace(
        episode,
        requests=requests._replace(arrival_s=arrival_s, **columns),
        path=episode.path[turned],
        payloads=payloads,
        content=content,
        conditions=episode.conditions._replace(links=links),
        probes=episode.probes._replace(values=probes),
    )


@pytest.mark.parametrize("site", SITES)
def test_what_it_cannot_know_changes_nothing_that_it_believes(site):
    episode = draw_episode(find_scenario(site), 31)
    other, (_, after) = otherwise(episode), waiting_of(episode)
    assert not np.array_equal(episode.requests.size_bytes[after:], other.requests.size_bytes[after:])
    one, two = believed(episode), believed(other)
    for name in one.requests._fields[:5]:
        np.testing.assert_array_equal(getattr(one.requests, name), getattr(two.requests, name), name)
    for mine, theirs in zip(one.payloads, two.payloads, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    used = one.requests.dataset
    for mine, theirs in zip(one.content, two.content, strict=True):
        np.testing.assert_array_equal(mine[used], theirs[used])
    for name in ("path", "deadline_s", "loss_gaps", "changed_noise"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), name)
    now = np.searchsorted(one.conditions.times, present_of(episode))
    np.testing.assert_array_equal(one.conditions.links[now:], two.conditions.links[now:])
    np.testing.assert_array_equal(one.probes.values, two.probes.values)


@pytest.mark.parametrize("site", SITES)
def test_what_has_been_is_as_it_was_and_who_waits_shows_the_same_samples(site):
    episode = draw_episode(find_scenario(site), 32)
    (waiting, after), when_s, one = waiting_of(episode), present_of(episode), believed(episode)
    for mine, theirs in zip(one.requests[:5], episode.requests[:5], strict=True):
        np.testing.assert_array_equal(mine[:after], theirs[:after])
    for mine, theirs in zip(one.payloads, episode.payloads, strict=True):
        np.testing.assert_array_equal(mine[:SENT], theirs[:SENT])
    for name in ("entropy", "sample_ratio", "repetition", "size_bytes", "kind"):
        np.testing.assert_array_equal(
            getattr(one.payloads, name)[waiting], getattr(episode.payloads, name)[waiting]
        )
    past = episode.conditions.times < when_s
    np.testing.assert_array_equal(one.conditions.links[: past.sum()], episode.conditions.links[past])
    arrival_s = one.requests.arrival_s
    assert len(one) == len(episode)
    assert (np.diff(arrival_s) >= 0).all()
    assert arrival_s[after] > when_s
    assert (one.requests.dataset < len(one.content.kind)).all()


def test_capacity_is_believed_from_a_probe_that_streams_of_others_blur():
    """Without bias, and nearer than a probe alone, which tells what is free."""
    apart, probed = [], []
    for number in range(40):
        episode = draw_episode(find_scenario("internet"), 600 + number)
        when_s = present_of(episode)
        known = links_at(episode.conditions, when_s)[0, 0]
        row = int(when_s / episode.probes.period_s)
        probed.append(np.log(episode.probes.values[row, 0, 2] / known))
        for seed in range(3):
            now = links_at(believed(episode, seed).conditions, when_s + 1e-9)[0, 0]
            apart.append(np.log(now / known))
    assert abs(np.median(apart)) < 0.08
    assert np.median(np.abs(apart)) < 0.5 * np.median(np.abs(probed))


def test_ratios_behind_a_sample_are_as_probable_as_they_are_among_payloads_with_that_sample():
    """Ranks of the truth among what is believed are even: as often below as above, and at the ends, too."""
    ranks = []
    for number in range(60):
        episode = draw_episode(find_scenario("internet"), 900 + number)
        waiting, _ = waiting_of(episode)
        new = [row for row in waiting if episode.requests.dataset[row] not in episode.requests.dataset[:SENT]]
        if not new:
            continue
        drawn = [believed(episode, seed).payloads.ratio3[new[0]] for seed in range(15)]
        ranks.append(np.mean(np.array(drawn) < episode.payloads.ratio3[new[0]]))
    assert len(ranks) > 20
    assert 0.35 < np.mean(ranks) < 0.65
    assert np.std(ranks) > 0.2


def test_periodic_datasets_are_believed_to_come_when_they_do():
    """The real next arrival of a dataset lies whole periods from one that is awaited: by chance .25 off."""
    missed = []
    for number in range(10):
        episode = draw_episode(find_scenario("metro"), 40 + number)
        (_, after), one = waiting_of(episode), believed(episode, number)
        for known in range(episode.scenario.workload.datasets):
            came, real = np.split(
                episode.requests.arrival_s[episode.requests.dataset == known],
                [int((episode.requests.dataset[:after] == known).sum())],
            )
            awaited = one.requests.arrival_s[after:][one.requests.dataset[after:] == known]
            if len(came) > 2 and len(real) and len(awaited):
                periods = (real[0] - awaited[0]) / np.diff(came).min()
                missed.append(abs(periods - round(periods)))
    assert len(missed) > 20
    assert np.median(missed) < 0.15


def test_new_transfers_follow_the_law_of_the_site():
    """Sizes, classes and shares of one-offs of what is believed are those of fresh episodes."""
    scenario, believed_new, drawn_new = find_scenario("internet"), [], []
    sizes: tuple[list[float], list[float]] = ([], [])
    for number in range(60):
        episode = draw_episode(scenario, 1200 + number)
        (_, after), one = waiting_of(episode), believed(episode, number)
        recurring = scenario.workload.datasets
        believed_new.append(np.mean(one.requests.dataset[after:] >= len(episode.content.kind) + recurring))
        drawn_new.append(np.mean(episode.requests.dataset[after:] >= recurring))
        sizes[0].extend(np.log(one.requests.size_bytes[after:]))
        sizes[1].extend(np.log(episode.requests.size_bytes[after:]))
    assert np.mean(believed_new) == pytest.approx(np.mean(drawn_new), abs=0.03)
    assert np.mean(sizes[0]) == pytest.approx(np.mean(sizes[1]), abs=0.25)
