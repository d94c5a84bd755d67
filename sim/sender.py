"""The sending site: what it has measured by now, and the questions that it can put from that alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sim.codecs import Codec
from sim.decisions import (
    CodecQuestion,
    DispatchQuestion,
    HostView,
    PathView,
    Running,
    ShareQuestion,
    Waiting,
)
from sim.episode import Episode
from sim.hosts import BaselineStore
from sim.network import Flow, Network
from sim.rows import Rows
from sim.telemetry import Averages
from sim.transfers import Stage, Stages


@dataclass(slots=True)
class Transfer:
    """A transfer that has been answered: what it asks of the network, and how far it is.

    Attributes:
        request: Row in the episode.
        number: Row of its codec in the world's list.
        codec: Its codec.
        stage: How it is encoded, sent and decoded.
        start_s: When it was answered.
        flow: The part that moves now.
        later_bytes: Raw bytes of the part after that; 0 when there is none.
        cpu_s: Core-seconds of its set-up and of the parts that have been decoded.
        metered_s: When it was metered last; when it began to move before the first time.
        metered_bytes: Raw bytes that it had still to move then.
        metered_cpu_s: Core-seconds that it had used then, set-up apart.
    """

    request: int
    number: int
    codec: Codec
    stage: Stage
    start_s: float
    flow: Flow
    later_bytes: float
    cpu_s: float
    metered_s: float = 0.0
    metered_bytes: float = 0.0
    metered_cpu_s: float = 0.0

    def meter(self, now: float, remaining_bytes: float, cpu_s: float) -> None:
        """Begin an interval of metering: of the part that moves, what is left and what it has used."""
        self.metered_s = now
        self.metered_bytes = remaining_bytes + self.later_bytes
        self.metered_cpu_s = cpu_s


class Sender:
    """What a site knows of its paths, its host, its datasets and its transfers.

    Args:
        episode: The episode; only what a sender can measure is told.
        rows: The same as lists.
        stages: What codecs make of payloads.
        network: The transfers in flight.
    """

    def __init__(self, episode: Episode, rows: Rows, stages: Stages, network: Network[Transfer]) -> None:
        self.baselines = BaselineStore(episode.scenario.host)
        self.averages = Averages(episode.nominal.tolist())
        self._cores = episode.scenario.host.cores
        self._rows = rows
        self._stages = stages
        self._network = network

    def codec_question(self, request: int, now: float, waiting: int) -> CodecQuestion:
        """With which codec does this transfer go?"""
        rows, averages = self._rows, self.averages
        dataset, path, kind = rows.dataset[request], rows.path[request], rows.kind[request]
        baseline = self.baselines.peek(dataset, now)
        age_s = now - baseline.taken_s if baseline is not None else 0.0
        rtt_s, jitter_s, bandwidth, loss = rows.probe(path, now)
        tally = self._network.tally(path)
        seen, interval_s = averages.history(dataset)
        cores = self._cores
        return CodecQuestion._make(  # a call with so many arguments takes three times as long
            (
                request,
                now,
                rows.hour(now),
                kind,
                rows.size_bytes[request],
                rows.entropy[request],
                rows.sample_ratio[request],
                rows.repetition[request],
                rows.priority[request],
                rows.deadline_s[request] - now,
                now - rows.arrival_s[request],
                baseline is not None,
                age_s,
                baseline.deltas if baseline is not None else 0,
                self._stages.estimated_change(request, age_s) if baseline is not None else 1.0,
                seen - 1,
                interval_s,
                averages.delta_ratio(dataset, kind),
                path,
                rows.link_types[path],
                rows.nominal[path],
                rtt_s,
                jitter_s,
                bandwidth,
                loss,
                rows.limits[path][0],
                cores,
                1.0 - (rows.cores_free(now) - tally.cores) / cores,
                self.baselines.pressure,
                tally.running,
                waiting,
                int(tally.streams),
                tally.wire_bytes,
                tally.core_s,
                averages.zstd_ratio[kind],
                averages.hde_ratio[kind],
                averages.single_rate[path],
                averages.amst_rate[path],
                averages.goodput_share[path],
            )
        )

    def share_question(self, now: float, waiting: Sequence[int]) -> ShareQuestion:
        """Who of those that move gets how much?"""
        paths = self._paths(now)  # moves all to now
        return ShareQuestion(
            now,
            self._rows.hour(now),
            self._moving(now),
            paths,
            self._host(now),
            len(waiting),
            sum(self._rows.size_bytes[request] for request in waiting),
        )

    def dispatch_question(
        self,
        now: float,
        waiting: Sequence[int],
        choices: Sequence[tuple[int, ...]],
        free_slots: int,
        may_wait: bool,
        started: Iterable[int],
    ) -> DispatchQuestion:
        """Who of those that wait goes next? ``started`` are all that have a slot."""
        paths = self._paths(now)  # moves all to now
        carried = {transfer.request for transfer in self._network.carried}
        return DispatchQuestion(
            now,
            self._rows.hour(now),
            tuple(self._waiting(request, own, now) for request, own in zip(waiting, choices, strict=True)),
            paths,
            self._host(now),
            free_slots,
            self.averages.interval_s,
            may_wait,
            tuple(self._waiting(request, (), now) for request in started if request not in carried),
            self._moving(now),
        )

    def meter(self, now: float) -> None:
        """Begin the next interval of metering for all that move; they stand at now."""
        for transfer, flow in zip(self._network.carried, self._network.flows, strict=True):
            transfer.meter(now, float(flow["remaining"]), float(flow["cpu_s"]))

    def _moving(self, now: float) -> tuple[Running, ...]:
        """Those that move, oldest request first; they stand at now."""
        pairs = zip(self._network.carried, self._network.flows, strict=True)
        running = [
            self._running(transfer, float(flow["remaining"]), float(flow["cpu_s"]), now)
            for transfer, flow in pairs
        ]
        return tuple(sorted(running))

    def _running(self, transfer: Transfer, remaining: float, cpu_s: float, now: float) -> Running:
        rows, request, stage = self._rows, transfer.request, transfer.stage
        remaining += transfer.later_bytes
        elapsed_s = now - transfer.metered_s
        return Running(
            request,
            rows.kind[request],
            transfer.number,
            rows.path[request],
            rows.priority[request],
            rows.deadline_s[request] - now,
            rows.size_bytes[request],
            remaining,
            stage.ratio,
            (transfer.metered_bytes - remaining) / elapsed_s if elapsed_s > 0 else 0.0,
            (cpu_s - transfer.metered_cpu_s) / elapsed_s if elapsed_s > 0 else 0.0,
            now - transfer.start_s,
            int(stage.streams),
            stage.encode,
            stage.cores_max,
        )

    def _waiting(self, request: int, paths: tuple[int, ...], now: float) -> Waiting:
        rows = self._rows
        dataset = rows.dataset[request]
        baseline = self.baselines.peek(dataset, now)
        changed = 1.0
        if baseline is not None:
            changed = self._stages.estimated_change(request, now - baseline.taken_s)
        return Waiting(
            request,
            rows.kind[request],
            dataset,
            rows.size_bytes[request],
            rows.sample_ratio[request],
            rows.priority[request],
            rows.deadline_s[request] - now,
            now - rows.arrival_s[request],
            baseline is not None,
            changed,
            self.averages.delta_ratio(dataset, rows.kind[request]),
            rows.path[request],
            paths,
        )

    def _paths(self, now: float) -> tuple[PathView, ...]:
        return tuple(self._path(path, now) for path in range(len(self._rows.nominal)))

    def _path(self, path: int, now: float) -> PathView:
        rows, averages, tally = self._rows, self.averages, self._network.tally(path)
        rtt_s, jitter_s, bandwidth, loss = rows.probe(path, now)
        return PathView(
            rows.link_types[path],
            rows.nominal[path],
            rtt_s,
            jitter_s,
            bandwidth,
            loss,
            rows.limits[path][0],
            averages.single_rate[path],
            averages.amst_rate[path],
            averages.goodput_share[path],
            tally.running,
            int(tally.streams),
            tally.wire_bytes,
        )

    def _host(self, now: float) -> HostView:
        tally = self._network.tally(0)
        load = 1.0 - (self._rows.cores_free(now) - tally.cores) / self._cores
        return HostView(self._cores, load, tally.core_s, self.baselines.pressure)
