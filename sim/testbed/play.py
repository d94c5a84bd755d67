"""Plays an episode in real time through a mover: the world's rules, questions and records, real transfers."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

from sim.backlog import Backlog
from sim.codecs import Codec, encode_rate
from sim.decisions import CodecQuestion, CodecRule
from sim.episode import Episode
from sim.ledger import Ledger
from sim.network import Network, Tally
from sim.payloads import CLASS_NAMES
from sim.rows import Rows
from sim.sender import Sender, Transfer
from sim.telemetry import TransferRecord
from sim.testbed.mover import Mover
from sim.testbed.orders import Moved, Order, Progress
from sim.testbed.payload_making import PayloadFile
from sim.transfers import Stages

_LOOK_S: Final = 0.2
"""Seconds between two looks at whether the receiver is to lose a baseline."""
_NOTHING: Final = Progress(0, 0, 0, 0.0)


class Played(NamedTuple):
    """An episode that was played for real.

    Attributes:
        episode: What was played.
        records: One a transfer, in the order in which they ended.
        decisions: Questions and the names of the chosen codecs.
        moved: What the mover measured of each transfer, in the order of `records`.
        cost_s: By the ledger that the simulator uses.
        end_s: When the last transfer ended, by the episode's clock.
    """

    episode: Episode
    records: list[TransferRecord]
    decisions: list[tuple[CodecQuestion, str]]
    moved: list[Moved]
    cost_s: float
    end_s: float


class _Moving(NamedTuple):
    """A transfer on its way."""

    order: Order
    path: int
    codec: Codec
    size_bytes: float
    sample_ratio: float


class Traffic:
    """What is on its way, counted as `sim.network.Network` counts it, from what the mover reports.

    Of a transfer of which nothing has been decoded yet, the ratio is taken to be 1 and the encoder's rate
    that of its sample.
    """

    def __init__(self, mover: Mover) -> None:
        self._mover = mover
        self.moving: dict[int, _Moving] = {}

    def tally(self, path: int) -> Tally:
        """Count what is on its way now."""
        running, streams, wire_bytes, core_s = 0, 0, 0.0, 0.0
        for request, one in self.moving.items():
            progress = self._mover.progress.get(request, _NOTHING)
            left = one.size_bytes - progress.decoded_bytes
            core_s += left * _encode_s_per_byte(one, progress)
            if one.path == path:
                running += 1
                streams += one.codec.streams
                share = progress.wire_bytes / progress.decoded_bytes if progress.decoded_bytes else 1.0
                wire_bytes += left * min(share, 1.0)
        return Tally(running, float(streams), wire_bytes, core_s, self._cores(), 0.0)

    def _cores(self) -> float:
        return self._mover.cores if self.moving else 0.0


def _encode_s_per_byte(one: _Moving, progress: Progress) -> float:
    if progress.decoded_bytes:
        return progress.encode_cpu_s / progress.decoded_bytes
    return 1.0 / float(encode_rate(one.sample_ratio, one.codec.method, one.size_bytes))


class Player:
    """One episode, played once.

    Transfers arrive, wait for a slot, are asked about and recorded as in `sim.world.World` with its default
    rules: first come, first served, and every stream for itself. What happens in between is real.

    Args:
        episode: Its conditions and probes say what the path was set to; the path itself is the mover's.
        payloads: Of each transfer.
        codecs: The answers that a question can have.
        answer: Answers every question.
        mover: Moves the payloads.
        transfer_base: Added to the number of a request to make that of its transfer, so that several episodes
            can be played through one mover.
        skip_idle: Whether time in which nothing waits or moves is skipped; the episode's clock goes on as if
            it had passed.
        watch: Is told after each record how many there are.
    """

    def __init__(
        self,
        episode: Episode,
        payloads: Sequence[PayloadFile],
        codecs: Sequence[Codec],
        answer: CodecRule,
        mover: Mover,
        *,
        transfer_base: int = 0,
        skip_idle: bool = True,
        watch: Callable[[int], object] | None = None,
    ) -> None:
        self._episode = episode
        self._payloads = payloads
        self._codecs = codecs
        self._answer = answer
        self._mover = mover
        self._base = transfer_base
        self._skip_idle = skip_idle
        self._watch = watch
        self._rows = Rows(episode)
        self._traffic = Traffic(mover)
        network = cast(Network[Transfer], self._traffic)  # of which a codec question asks for the tally alone
        self._sender = Sender(episode, self._rows, Stages(episode, codecs), network)
        self._backlog = Backlog(episode.scenario, self._rows)
        self._ledger = Ledger(episode.scenario.cpu_price, episode.scenario.late_price)
        self._versions: dict[int, int] = {}  # request whose payload is the baseline of a dataset
        self._records: list[TransferRecord] = []
        self._decisions: list[tuple[CodecQuestion, str]] = []
        self._moved: list[Moved] = []
        self._idle = asyncio.Event()
        self._zero_s = 0.0
        faults = episode.faults
        losses = zip(faults.baseline_loss_s.tolist(), faults.baseline_loss_dataset.tolist(), strict=True)
        self._losses = deque(sorted(losses))

    async def play(self) -> Played:
        """Play it to its end.

        Raises:
            MoveError: If a transfer cannot be moved; none of the others is waited for.
        """
        self._zero_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                await self._all(group)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        end_s = max(record.end_s for record in self._records)
        cpu_s = sum(record.cpu_s for record in self._records)
        return Played(
            self._episode,
            self._records,
            self._decisions,
            self._moved,
            self._ledger.accrued(end_s, cpu_s),
            end_s,
        )

    async def _all(self, group: asyncio.TaskGroup) -> None:
        """Let all arrive, and wait until all have moved."""
        losing = group.create_task(self._keep_losing())
        for request in range(len(self._episode)):
            await self._until(self._rows.arrival_s[request])
            self._arrive(request)
            self._fill_slots(group)
        while self._traffic.moving or self._backlog.waiting:
            await self._idle.wait()
        losing.cancel()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._zero_s

    async def _until(self, time_s: float) -> None:
        """Wait for a moment of the episode, or until nothing moves and the rest can be skipped."""
        self._set_idle()
        while (left_s := time_s - self._now) > 0:
            if self._skip_idle and self._idle.is_set():
                self._zero_s -= left_s
                await self._lose_baselines()
                return
            try:
                await asyncio.wait_for(
                    self._idle.wait() if self._skip_idle else asyncio.sleep(left_s), left_s
                )
            except TimeoutError:
                return

    def _arrive(self, request: int) -> None:
        rows = self._rows
        now = max(self._now, rows.arrival_s[request])
        self._ledger.arrive(
            request, rows.arrival_s[request], rows.priority[request], rows.deadline_s[request]
        )
        self._sender.averages.request(rows.dataset[request], now)
        self._backlog.waiting.append(request)

    def _fill_slots(self, group: asyncio.TaskGroup) -> None:
        while (request := self._backlog.take_first()) is not None:
            now = self._now
            question = self._sender.codec_question(request, now, len(self._backlog.waiting))
            number = self._answer(question)
            codec = self._codecs[number]
            self._decisions.append((question, codec.name))
            order = self._order(request, codec, now)
            rows = self._rows
            self._traffic.moving[order.transfer] = _Moving(
                order, rows.path[request], codec, rows.size_bytes[request], rows.sample_ratio[request]
            )
            self._set_idle()
            group.create_task(self._move(group, request, order, codec, now))

    def _order(self, request: int, codec: Codec, now: float) -> Order:
        rows, payload = self._rows, self._payloads[request]
        dataset = rows.dataset[request]
        first_bytes, _ = rows.parts(request)
        order = Order(
            transfer=self._base + request,
            dataset=dataset,
            codec=codec.name,
            streams=codec.streams,
            payload=str(payload.path),
            digest=payload.digest,
            keep=codec.keeps_baseline,
            break_share=first_bytes / rows.size_bytes[request],
        )
        baselines = self._sender.baselines
        if not codec.keeps_baseline or baselines.peek(dataset, now) is None:
            return order
        baselines.use(dataset)
        version = self._payloads[self._versions[dataset]]
        return order._replace(baseline=str(version.path), baseline_digest=version.digest)

    async def _move(
        self, group: asyncio.TaskGroup, request: int, order: Order, codec: Codec, start_s: float
    ) -> None:
        moved = await self._mover.move(order)
        end_s = start_s + moved.seconds
        rows = self._rows
        dataset, path, kind = rows.dataset[request], rows.path[request], rows.kind[request]
        record = TransferRecord(
            request=request,
            dataset=dataset,
            kind=CLASS_NAMES[kind],
            path=path,
            codec=codec.name,
            is_delta=moved.is_delta,
            is_baseline=codec.keeps_baseline and not moved.is_delta,
            arrival_s=rows.arrival_s[request],
            start_s=start_s,
            end_s=end_s,
            deadline_s=rows.deadline_s[request],
            priority=rows.priority[request],
            size_bytes=rows.size_bytes[request],
            wire_bytes=float(moved.wire_bytes),
            streams=codec.streams,
            cpu_s=moved.cpu_s,
        )
        self._records.append(record)
        self._moved.append(moved)
        self._ledger.complete(request, end_s)
        if order.baseline and not moved.is_delta:
            self._sender.baselines.drop(dataset)
        if record.is_baseline:
            self._keep(request, dataset, start_s, end_s)
        self._sender.averages.complete(record, kind, rows.bandwidth(path, end_s))
        self._backlog.release(path)
        del self._traffic.moving[order.transfer]
        self._fill_slots(group)
        self._set_idle()
        if self._watch is not None:
            self._watch(len(self._records))

    def _keep(self, request: int, dataset: int, start_s: float, end_s: float) -> None:
        """Note the version that both ends now hold, unless a newer one is there or it is too large."""
        baselines = self._sender.baselines
        baselines.put(dataset, start_s, self._rows.size_bytes[request])
        kept = baselines.peek(dataset, end_s)
        if kept is not None and kept.taken_s == start_s:
            self._versions[dataset] = request

    def _set_idle(self) -> None:
        if self._traffic.moving or self._backlog.waiting:
            self._idle.clear()
        else:
            self._idle.set()

    async def _lose_baselines(self) -> None:
        """Have the receiver lose what the episode says that it has lost by now."""
        while self._losses and self._losses[0][0] <= self._now:
            _, dataset = self._losses.popleft()
            await self._mover.forget(dataset)

    async def _keep_losing(self) -> None:
        while self._losses:
            await asyncio.sleep(_LOOK_S)
            await self._lose_baselines()
