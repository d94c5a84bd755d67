"""The simulated network on SimPy's clock: transfers wait, ask, and share paths and cores."""

from collections import deque
from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Any, Final, cast

import simpy

from sim.backlog import Backlog
from sim.clock import Clock
from sim.codecs import Codec
from sim.decisions import (
    BY_DEFAULT,
    Answer,
    CodecQuestion,
    CodecRule,
    Dispatch,
    DispatchQuestion,
    Question,
    Rules,
    ShareQuestion,
    equal,
    first_come,
)
from sim.episode import Episode
from sim.ledger import Ledger
from sim.network import Flow, Network
from sim.paths import RTT, opening
from sim.payloads import CLASS_NAMES
from sim.rows import Rows
from sim.sender import Sender, Transfer
from sim.sharing import Sharing
from sim.telemetry import TransferRecord
from sim.transfers import Outlook, Stage, Stages

RECONNECT_ROUNDS: Final = 2.0
"""Round trips to connect again after a break: a handshake and the question where to go on."""


class World:
    """One episode, running. Chance is over: what happens follows from the episode and the answers.

    A transfer waits until it is dispatched, asks a `CodecQuestion`, starts its connections, moves, and is
    recorded; while transfers move, a `ShareQuestion` is put every control interval. A question is answered by
    its rule, or left open: the world then stops until it is answered. By default codec questions are open:

        world = World(episode, codecs)
        while (question := world.next_question()) is not None:
            world.answer(rule(question))

    Arrivals are a process; the rest are callbacks of the events that a transfer waits for, because a process
    for each transfer takes the clock half as many events again.

    Args:
        episode: What chance has decided.
        codecs: The answers that a codec question can have.
        rules: Who answers which question.

    Raises:
        ValueError: If the control interval or the quantum of the rules is out of range.
    """

    def __init__(self, episode: Episode, codecs: Sequence[Codec], rules: Rules = BY_DEFAULT) -> None:
        if not rules.quantum_s > 0:
            raise ValueError(f"quantum_s must be above 0, got {rules.quantum_s}")
        scenario = episode.scenario
        self.episode = episode
        self.codecs = tuple(codecs)
        self.clock = Clock()
        self.network: Network[Transfer] = Network(
            self._sent, self.clock, *episode.conditions[:2], episode.path_limits, episode.conditions.cores
        )
        self.ledger = Ledger(scenario.cpu_price, scenario.late_price)
        self.stages = Stages(episode, self.codecs)
        self.records: list[TransferRecord] = []
        self.moving: dict[int, tuple[float, Codec]] = {}  # since when, and with what
        self._count = len(episode)
        self._rows = Rows(episode)
        self._limits = list(episode.path_limits)
        self._sender = Sender(episode, self._rows, self.stages, self.network)
        self._backlog = Backlog(scenario, self._rows)
        self._rules = rules
        self._in_turn = rules.dispatch is first_come
        self._open: deque[int] = deque()  # dispatched, their codec questions not yet answered
        self._called = False  # may a dispatch or share question be due?
        self._wait = 0  # number of the wait that someone chose; odd while it lasts
        self._sharing = None
        if rules.share is not equal:
            self._sharing = Sharing(self.clock, self.network, rules.control_s, self._opening, self._call)
        self._asked: Question | None = None
        self._setup_cpu_s = 0.0
        self.clock.timeout(self._rows.arrival_s[0], 0).callbacks.append(self._arrive)

    @property
    def finished(self) -> bool:
        """Whether every transfer has been recorded."""
        return len(self.records) == self._count

    @property
    def waiting(self) -> Sequence[int]:
        """Those that wait for a slot, oldest first."""
        return self._backlog.waiting

    @property
    def question(self) -> Question | None:
        """The question that was put last and waits for its answer."""
        return self._asked

    @property
    def cpu_s(self) -> float:
        """Core-seconds used until now, both ends."""
        return self._setup_cpu_s + self.network.cpu_s()

    @property
    def cost(self) -> float:
        """Cost accrued until now, in seconds."""
        return self.ledger.accrued(self.clock.now, self.cpu_s)

    def next_question(self) -> Question | None:
        """Run until a question without a rule stands; None when all have moved.

        All that happens at one moment happens before a question of that moment is put, so that the second of
        two transfers that start together sees the first. Of one moment's questions, who goes comes before how
        it is encoded, and that before who gets how much.
        """
        while (question := self._next()) is not None:
            rule: Any = self._rule(question)
            if rule is None:
                break
            self._apply(question, rule(question))
        self._asked = question
        return question

    def answer(self, answer: Answer) -> None:
        """Answer the question that was put last: the index of a codec, `Shares`, or `Go` or `WAIT`."""
        if self._asked is None:
            raise RuntimeError("there is no open question; call next_question() first")
        self._apply(self._asked, answer)
        self._asked = None

    def run(self, rule: CodecRule) -> None:
        """Run to the end; ``rule`` answers every codec question."""
        while (question := self.next_question()) is not None:
            self.answer(rule(cast(CodecQuestion, question)))

    def outlook(self, codec: int) -> Outlook:
        """True prospects of the transfer whose question is open, under one answer; for oracles only."""
        request = self._open[0]
        path, size_bytes = self._rows.path[request], self._rows.size_bytes[request]
        stage, lost_s = self._stage(request, codec)
        opening_s, _, overhead, wire_rate = self._opening(request, stage, path, size_bytes, 0.0)
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

    def _arrive(self, come: simpy.Event) -> None:
        """A request has come: let it wait for a slot, and be called when the next comes."""
        first: Any = come.value
        now, rows = self.clock.now, self._rows
        for request in range(first, self._count):
            if request > first and rows.arrival_s[request] > now:
                self.clock.timeout(rows.arrival_s[request] - now, request).callbacks.append(self._arrive)
                return
            self.ledger.arrive(request, now, rows.priority[request], rows.deadline_s[request])
            self._sender.averages.request(rows.dataset[request], now)
            self._backlog.waiting.append(request)
            self._fill_slots()

    def _next(self) -> Question | None:
        """Run until any question stands."""
        clock, step, open_, records = self.clock, self.clock.step, self._open, self.records
        while len(records) < self._count:
            if (open_ or self._called) and clock.moment_is_over:
                if self._called and (dispatch := self._dispatch_question()) is not None:
                    return dispatch
                if open_:
                    return self._sender.codec_question(open_[0], clock.now, len(self._backlog.waiting))
                if self._sharing is not None and self._sharing.due:
                    return self._sender.share_question(clock.now, self.waiting)
                self._called = False
            else:
                step()
        self._let_go()
        return None

    def _let_go(self) -> None:
        """All have moved: let nothing point back at this world, so that it is freed when its user drops it.

        Circles would keep it until the garbage collector comes, and with it memory for the next one.
        """
        self.clock.stop()
        self.network.close()
        self._sharing = None

    def _rule(self, question: Question) -> Any:
        if type(question) is CodecQuestion:
            return self._rules.codec
        return self._rules.share if type(question) is ShareQuestion else self._rules.dispatch

    def _apply(self, question: Question, answer: Any) -> None:
        if type(question) is CodecQuestion:
            if not 0 <= answer < len(self.codecs):
                raise ValueError(f"an answer must be an index of the {len(self.codecs)} codecs, got {answer}")
            self._start(self._open.popleft(), answer)
        elif type(question) is ShareQuestion:
            assert self._sharing is not None  # it has put the question
            self._setup_cpu_s += self._sharing.apply(question, answer)
            self._sender.meter(self.clock.now)
        else:
            self._dispatch(cast(DispatchQuestion, question), answer)

    def _fill_slots(self) -> None:
        """A transfer has come or ended: let others go, or have it asked at the end of this moment."""
        if self._in_turn:
            while (request := self._backlog.take_first()) is not None:
                self._open.append(request)
        else:
            self._wait += self._wait % 2
            self._call()

    def _call(self) -> None:
        """Look at the end of this moment whether a dispatch or share question is due."""
        self._called = True

    def _dispatch_question(self) -> DispatchQuestion | None:
        """The question who goes next, unless no one can or all but one answer is ruled out."""
        backlog = self._backlog
        while self._wait % 2 == 0 and (go := backlog.first()) is not None:
            choices = [backlog.paths(request) for request in backlog.waiting]
            may_wait = self._may_wait()
            if may_wait or sum(map(len, choices)) > 1:
                now = self.clock.now
                return self._sender.dispatch_question(
                    now, backlog.waiting, choices, backlog.free_slots, may_wait, (*self.moving, *self._open)
                )
            self._open.append(backlog.take(go))
        return None

    def _may_wait(self) -> bool:
        """Whether anything will wake who waits, and may bring something."""
        inside = len(self.records) + len(self.waiting) + len(self.moving) + len(self._open)
        if self.moving or self._open or inside < self._count:
            return True
        return self._rules.quantum_s < inf and self.clock.now < self._rows.times[-1]

    def _dispatch(self, question: DispatchQuestion, answer: Dispatch) -> None:
        if answer is not None:
            self._open.append(self._backlog.take(answer))
            return
        if not question.may_wait:
            raise ValueError("waiting is no answer when nothing more will come; let one go")
        self._wait += 1
        if self._rules.quantum_s < inf:
            over = self.clock.timeout(self._rules.quantum_s, self._wait)
            over.callbacks.append(self._waited)

    def _waited(self, over: simpy.Event) -> None:
        """A quantum has passed; ask again, unless something else came first."""
        if over.value == self._wait:
            self._wait += 1
            self._call()

    def _start(self, request: int, number: int) -> None:
        """A transfer was answered: open its connections."""
        now, rows = self.clock.now, self._rows
        codec, path, size_bytes = self.codecs[number], rows.path[request], rows.size_bytes[request]
        self.moving[request] = (now, codec)
        stage, lost_s = self._stage(request, number)
        if stage.is_delta:
            self._sender.baselines.use(rows.dataset[request])
        elif lost_s:
            self._sender.baselines.drop(rows.dataset[request])
        others = self.network.tally(path).streams
        opening_s, gain, overhead, _ = self._opening(request, stage, path, size_bytes, others)
        self._setup_cpu_s += stage.setup_cpu_s
        first_bytes, later_bytes = rows.parts(request)
        flow = Flow._make(
            (
                path,
                first_bytes,
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
        )
        transfer = Transfer(request, number, codec, stage, now, flow, later_bytes, stage.setup_cpu_s)
        self.clock.timeout(opening_s + lost_s).callbacks.append(partial(self._send, transfer))

    def _send(self, transfer: Transfer, _: simpy.Event) -> None:
        """Its connections are open: put the transfer, or what is left of it, on its path."""
        self.network.carry(transfer.flow, transfer)
        transfer.meter(self.clock.now, transfer.flow.size_bytes, 0.0)
        if self._sharing is not None:
            self._sharing.schedule()

    def _sent(self, transfer: Transfer, cpu_s: float) -> None:
        """A part has been decoded: record the transfer, or go on from the last acknowledged chunk."""
        transfer.cpu_s += cpu_s
        if not transfer.later_bytes:
            self._complete(transfer)
            return
        transfer.flow = transfer.flow._replace(size_bytes=transfer.later_bytes)
        transfer.later_bytes = 0.0  # a transfer breaks once
        reconnect_s = RECONNECT_ROUNDS * self._rtt_s(transfer.flow.path)
        self.clock.timeout(reconnect_s).callbacks.append(partial(self._send, transfer))

    def _stage(self, request: int, number: int) -> tuple[Stage, float]:
        """How the payload would be encoded now: HDE sends a delta when there is a usable baseline.

        Returns:
            The stage, and the seconds lost when the receiver turns out to have lost the baseline.
        """
        if not self.codecs[number].keeps_baseline:
            return self.stages.plain(request, number), 0.0
        dataset, now = self._rows.dataset[request], self.clock.now
        baseline = self._sender.baselines.peek(dataset, now)
        if baseline is None:
            return self.stages.plain(request, number), 0.0
        if self._rows.receiver_lost(dataset, baseline.taken_s, now):
            return self.stages.plain(request, number), self._rtt_s(self._rows.path[request])
        return self.stages.delta(request, number, now - baseline.taken_s), 0.0

    def _rtt_s(self, path: int) -> float:
        """True round trip of a path now."""
        return float(self.episode.conditions.links[self._rows.piece(self.clock.now), path, RTT])

    def _opening(
        self, request: int, stage: Stage, path: int, size_bytes: float, others: float
    ) -> tuple[float, float, float, float]:
        """What `sim.paths.opening` says of a transfer that starts now."""
        link = self.episode.conditions.links[self._rows.piece(self.clock.now), path]
        gaps, wire_bytes = self.episode.loss_gaps[request], size_bytes / stage.ratio
        return opening(wire_bytes, stage.streams, others, link, self._limits[path], gaps)

    def _complete(self, transfer: Transfer) -> None:
        request, stage, start_s = transfer.request, transfer.stage, transfer.start_s
        now = self.clock.now
        rows = self._rows
        dataset, path, kind = rows.dataset[request], rows.path[request], rows.kind[request]
        record = TransferRecord._make(
            (
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
        )
        self.records.append(record)
        del self.moving[request]
        self.ledger.complete(request, now)
        if stage.is_baseline:
            self._sender.baselines.put(dataset, start_s, rows.size_bytes[request])
        self._sender.averages.complete(record, kind, rows.bandwidth(path, now))
        self._backlog.release(path)
        self._fill_slots()
