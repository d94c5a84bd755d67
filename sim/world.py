"""The simulated network on SimPy's clock: transfers wait, ask how to encode, and share paths and cores."""

from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import Any, NamedTuple

import simpy

from sim.codecs import Codec
from sim.decisions import CodecQuestion, CodecRule, DispatchQuestion, DispatchRule, first_come
from sim.episode import Episode
from sim.hosts import BaselineStore
from sim.ledger import Ledger
from sim.network import Flow, Network
from sim.paths import RTT, opening
from sim.payloads import CLASS_NAMES
from sim.scenarios import LINK_TYPES
from sim.telemetry import Averages, TransferRecord
from sim.transfers import Stage, Stages

_RECONNECT_ROUNDS = 2.0
"""Round trips to connect again after a break: a handshake and the question where to go on."""

_Process = Generator[simpy.Event, Any, None]


@dataclass(slots=True)
class _Transfer:
    """A transfer that has been answered: what it asks of the network, and how far it is."""

    request: int
    codec: Codec
    stage: Stage
    start_s: float
    flow: Flow  # of the part that moves now
    cpu_s: float
    parts_sent: int = 0


class Outlook(NamedTuple):
    """What a transfer would take with paths and cores to itself, as they are now.

    Attributes:
        seconds: From its start until it is decoded.
        cpu_s: Core-seconds, both ends.
        encode_s: Core-seconds of encoding alone.
        wire_bytes: Bytes on the wire.
        wire_rate: Bytes/s that its streams would reach.
    """

    seconds: float
    cpu_s: float
    encode_s: float
    wire_bytes: float
    wire_rate: float


class World:
    """One episode, running. Chance is over: what happens follows from the episode and the answers.

    A transfer waits for a slot, asks a `CodecQuestion`, starts its connections, moves, and is recorded. Its
    arrival is part of one process; the rest are callbacks of the events that it waits for, because a process
    for each transfer takes the clock half as many events again. The world stops at every question until it
    is answered:

        world = World(episode, codecs)
        while (question := world.next_question()) is not None:
            world.answer(rule(question))

    Args:
        episode: What chance has decided.
        codecs: The answers that a codec question can have.
        dispatch: Rule that picks the next of the waiting; first come, first served when not given.
    """

    def __init__(
        self, episode: Episode, codecs: Sequence[Codec], dispatch: DispatchRule = first_come
    ) -> None:
        scenario = episode.scenario
        self.episode = episode
        self.codecs = tuple(codecs)
        self.clock = simpy.Environment()
        self.network = Network(
            self.clock, *episode.conditions[:2], episode.path_limits, episode.conditions.cores
        )
        self.baselines = BaselineStore(scenario.host)
        self.ledger = Ledger(scenario.cpu_price, scenario.late_price)
        self.stages = Stages(episode, self.codecs)
        self.averages = Averages(episode.nominal.tolist())
        self.records: list[TransferRecord] = []
        self.waiting: list[int] = []
        self.moving: dict[int, tuple[float, Codec]] = {}  # since when, and with what
        self._dispatch = dispatch
        self._free_slots = scenario.slots
        self._open: deque[int] = deque()
        self._rows = _Rows(episode)
        self._setup_cpu_s = 0.0
        self.clock.process(self._arrivals())

    @property
    def finished(self) -> bool:
        """Whether every transfer has been recorded."""
        return len(self.records) == len(self.episode)

    @property
    def cpu_s(self) -> float:
        """Core-seconds used until now, both ends."""
        return self._setup_cpu_s + self.network.cpu_s()

    @property
    def cost(self) -> float:
        """Cost accrued until now, in seconds."""
        return self.ledger.accrued(self.clock.now, self.cpu_s)

    def next_question(self) -> CodecQuestion | None:
        """Run until a transfer waits for an answer; None when all have moved.

        All that happens at one moment happens before a question of that moment is put, so that the second of
        two transfers that start together sees the first.
        """
        clock, asked, records, all_of_them = self.clock, self._open, self.records, len(self.episode)
        while len(records) < all_of_them and not (asked and clock.peek() > clock.now):
            clock.step()
        return self._question(asked[0]) if asked else None

    def answer(self, codec: int) -> None:
        """Answer the question that was put last with the index of a codec."""
        if not self._open:
            raise RuntimeError("there is no open question; call next_question() first")
        if not 0 <= codec < len(self.codecs):
            raise ValueError(f"an answer must be an index of the {len(self.codecs)} codecs, got {codec}")
        self._start(self._open.popleft(), codec)

    def run(self, rule: CodecRule) -> None:
        """Run to the end; ``rule`` answers every question."""
        while (question := self.next_question()) is not None:
            self.answer(rule(question))

    def outlook(self, codec: int) -> Outlook:
        """True prospects of the transfer whose question is open, under one answer; for oracles only."""
        request = self._open[0]
        path, size_bytes = self._rows.path[request], self._rows.size_bytes[request]
        stage, lost_s = self._stage(request, codec)
        opening_s, _, overhead, wire_rate = self._opening(stage, path, size_bytes, others=0.0)
        wire_rate /= overhead
        cores = min(stage.cores_max, self._rows.cores_free(self.clock.now))
        rate = min(wire_rate * stage.ratio, stage.encode * cores, stage.decode)
        return Outlook(
            seconds=lost_s + opening_s + size_bytes / rate,
            cpu_s=size_bytes * stage.cpu_per_byte + stage.setup_cpu_s,
            encode_s=size_bytes / stage.encode,
            wire_bytes=size_bytes / stage.ratio,
            wire_rate=wire_rate,
        )

    def open_stakes(self) -> tuple[float, float]:
        """Priority and seconds to the deadline of the transfer whose question is open."""
        request = self._open[0]
        return self._rows.priority[request], self._rows.deadline_s[request] - self.clock.now

    def _arrivals(self) -> _Process:
        requests = self.episode.requests
        datasets = requests.dataset.tolist()
        for request, at in enumerate(requests.arrival_s.tolist()):
            if at > self.clock.now:
                yield self.clock.timeout(at - self.clock.now)
            now = self.clock.now
            self.ledger.arrive(request, now, self._rows.priority[request], self._rows.deadline_s[request])
            self.averages.request(datasets[request], now)
            self.waiting.append(request)
            self._fill_slots()

    def _fill_slots(self) -> None:
        while self._free_slots and self.waiting:
            chosen = 0
            if len(self.waiting) > 1:
                chosen = self._dispatch(DispatchQuestion(self.clock.now, tuple(self.waiting)))
            self._free_slots -= 1
            self._open.append(self.waiting.pop(chosen))

    def _start(self, request: int, number: int) -> None:
        """A transfer was answered: open its connections."""
        now = self.clock.now
        codec, path = self.codecs[number], self._rows.path[request]
        self.moving[request] = (now, codec)
        stage, lost_s = self._stage(request, number)
        if stage.is_delta:
            self.baselines.use(self._rows.dataset[request])
        elif lost_s:
            self.baselines.drop(self._rows.dataset[request])
        others = self.network.tally(path).streams
        opening_s, gain, overhead, _ = self._opening(stage, path, self._rows.size_bytes[request], others)
        self._setup_cpu_s += stage.setup_cpu_s
        flow = Flow(
            path,
            self._rows.parts(request)[0],
            stage.ratio / overhead,
            stage.streams,
            stage.streams,
            gain,
            stage.encode,
            stage.cores_max,
            1.0,
            stage.decode,
            stage.cpu_per_byte,
        )
        transfer = _Transfer(request, codec, stage, now, flow, stage.setup_cpu_s)
        self.clock.timeout(opening_s + lost_s).callbacks.append(partial(self._send, transfer))

    def _send(self, transfer: _Transfer, _: simpy.Event) -> None:
        """Its connections are open: put the transfer, or what is left of it, on its path."""
        self.network.carry(transfer.flow, partial(self._sent, transfer))

    def _sent(self, transfer: _Transfer, cpu_s: float) -> None:
        """A part has been decoded: record the transfer, or go on from the last acknowledged chunk."""
        transfer.cpu_s += cpu_s
        transfer.parts_sent += 1
        parts = self._rows.parts(transfer.request)
        if transfer.parts_sent == len(parts):
            self._complete(transfer)
            return
        transfer.flow = transfer.flow._replace(size_bytes=parts[transfer.parts_sent])
        reconnect_s = _RECONNECT_ROUNDS * self._rtt_s(transfer.flow.path)
        self.clock.timeout(reconnect_s).callbacks.append(partial(self._send, transfer))

    def _stage(self, request: int, number: int) -> tuple[Stage, float]:
        """How the payload would be encoded now: HDE sends a delta when there is a usable baseline.

        Returns:
            The stage, and the seconds lost when the receiver turns out to have lost the baseline.
        """
        if not self.codecs[number].keeps_baseline:
            return self.stages.plain(request, number), 0.0
        dataset, now = self._rows.dataset[request], self.clock.now
        baseline = self.baselines.peek(dataset, now)
        if baseline is None:
            return self.stages.plain(request, number), 0.0
        if self._rows.receiver_lost(dataset, baseline.taken_s, now):
            return self.stages.plain(request, number), self._rtt_s(self._rows.path[request])
        return self.stages.delta(request, number, now - baseline.taken_s), 0.0

    def _piece(self) -> int:
        """Row of the conditions that hold now."""
        return bisect_right(self._rows.times, self.clock.now) - 1

    def _rtt_s(self, path: int) -> float:
        """True round trip of a path now."""
        return float(self.episode.conditions.links[self._piece(), path, RTT])

    def _opening(
        self, stage: Stage, path: int, size_bytes: float, others: float
    ) -> tuple[float, float, float, float]:
        """What `sim.fluid.opening` says of a transfer that starts now."""
        link = self.episode.conditions.links[self._piece(), path]
        return opening(size_bytes / stage.ratio, stage.streams, others, link, self.episode.path_limits[path])

    def _complete(self, transfer: _Transfer) -> None:
        request, stage, start_s = transfer.request, transfer.stage, transfer.start_s
        now = self.clock.now
        rows = self._rows
        dataset, path, kind = rows.dataset[request], rows.path[request], rows.kind[request]
        record = TransferRecord(
            request,
            dataset,
            CLASS_NAMES[kind],
            path,
            transfer.codec.name,
            stage.is_delta,
            stage.is_baseline,
            rows.arrival_s[request],
            start_s,
            now,
            rows.deadline_s[request],
            rows.priority[request],
            rows.size_bytes[request],
            rows.size_bytes[request] / stage.ratio,
            int(stage.streams),
            transfer.cpu_s,
        )
        self.records.append(record)
        del self.moving[request]
        self.ledger.complete(request, now)
        if stage.is_baseline:
            self.baselines.put(dataset, start_s, rows.size_bytes[request])
        self.averages.complete(record, kind, rows.probe(path, now)[2])
        self._free_slots += 1
        self._fill_slots()

    def _question(self, request: int) -> CodecQuestion:
        now = self.clock.now
        rows, averages = self._rows, self.averages
        dataset, path, kind = rows.dataset[request], rows.path[request], rows.kind[request]
        baseline = self.baselines.peek(dataset, now)
        age_s = now - baseline.taken_s if baseline is not None else 0.0
        rtt_s, jitter_s, bandwidth, loss = rows.probe(path, now)
        tally = self.network.tally(path)
        seen, interval_s = averages.history(dataset)
        cores = self.episode.scenario.host.cores
        return CodecQuestion(
            request,
            now,
            (self.episode.start_hour + now / 3600.0) % 24.0,
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
            self.stages.estimated_change(request, age_s) if baseline is not None else 1.0,
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
            len(self.waiting),
            int(tally.streams),
            tally.wire_bytes,
            tally.core_s,
            averages.zstd_ratio[kind],
            averages.hde_ratio[kind],
            averages.single_rate[path],
            averages.amst_rate[path],
            averages.goodput_share[path],
        )


class _Rows:
    """The episode as plain lists: the clock meets one entry at a time, and lists hold Python's numbers."""

    def __init__(self, episode: Episode) -> None:
        self.arrival_s: list[float] = episode.requests.arrival_s.tolist()
        self.dataset: list[int] = episode.requests.dataset.tolist()
        self.size_bytes: list[float] = episode.requests.size_bytes.tolist()
        self.priority: list[float] = episode.requests.priority.tolist()
        self.deadline_s: list[float] = episode.deadline_s.tolist()
        self.path: list[int] = episode.path.tolist()
        self.kind: list[int] = episode.payloads.kind.tolist()
        self.entropy: list[float] = episode.payloads.entropy.tolist()
        self.sample_ratio: list[float] = episode.payloads.sample_ratio.tolist()
        self.repetition: list[float] = episode.payloads.repetition.tolist()
        self.times: list[float] = episode.conditions.times.tolist()
        self.limits: list[tuple[float, float, int]] = [
            (window, queue, int(control)) for window, queue, control in episode.path_limits.tolist()
        ]
        self.nominal: list[float] = episode.nominal.tolist()
        self.link_types = [LINK_TYPES.index(spec.link_type) for spec in episode.scenario.paths]
        self._cores: list[float] = episode.conditions.cores.tolist()
        self._probes = episode.probes.values  # rows are made lists when they are read: most never are
        self._last_probe = len(self._probes) - 1
        self._probe_period_s = episode.probes.period_s
        self._break_share: list[float] = episode.faults.break_share.tolist()
        self._losses = list(
            zip(
                episode.faults.baseline_loss_s.tolist(),
                episode.faults.baseline_loss_dataset.tolist(),
                strict=True,
            )
        )

    def parts(self, request: int) -> tuple[float, ...]:
        """Bytes of a transfer until it breaks and from there on; all of them when it does not break."""
        size_bytes, share = self.size_bytes[request], self._break_share[request]
        return (size_bytes,) if isnan(share) else (size_bytes * share, size_bytes * (1 - share))

    def probe(self, path: int, now_s: float) -> list[float]:
        """Last measurement of a path: RTT, jitter, available bandwidth, loss."""
        row: list[float] = self._probes[
            min(int(now_s / self._probe_period_s), self._last_probe), path
        ].tolist()
        return row

    def cores_free(self, now_s: float) -> float:
        """Cores that other work leaves."""
        return self._cores[bisect_right(self.times, now_s) - 1]

    def receiver_lost(self, dataset: int, since_s: float, now_s: float) -> bool:
        """Whether the receiver lost its baseline of a dataset in between."""
        return any(lost == dataset and since_s < at <= now_s for at, lost in self._losses)
