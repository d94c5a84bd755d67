"""Episodes played for real, and simulated beside it: the very same episodes under the very same policies."""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.play import play
from agents.policy import Policy
from envs.compression import Compression
from experiments.compositions import policy_of
from experiments.testbed_config import TestbedConfig
from experiments.testbed_report import RealRun, Take, label, write_run
from sim.decisions import CodecQuestion
from sim.episode import Episode
from sim.errors import InputError
from sim.randomness import stream
from sim.scenario_file import resolve
from sim.scenarios import Scenario
from sim.telemetry_file import Decisions
from sim.testbed.coding import ZstdCodec
from sim.testbed.delta_coding import HdeCodec
from sim.testbed.measuring import as_measured
from sim.testbed.meters import starved_s
from sim.testbed.mover import MoveError, mover
from sim.testbed.paths import PathSettings, emulated_path
from sim.testbed.payload_making import PayloadFile, make_payloads
from sim.testbed.play import Played, Player
from sim.testbed.staging import WINDOW_SHARE, staged_episode, staged_scenario
from sim.units import MB
from sim.world import World

_DRAWS: Final = 24
"""Over which the simulated cost of an episode on a path that loses packets is averaged."""
_BAR: Final = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


class Stage(NamedTuple):
    """What stays the same while policies and repeats change.

    Attributes:
        episode: With its payloads as they were measured.
        payloads: Of each transfer.
        env: The question, in the staged scenario.
        path: What the path is set to.
    """

    episode: Episode
    payloads: list[PayloadFile]
    env: Compression
    path: PathSettings


def run_testbed(config: TestbedConfig, results: Path, console: Console) -> RealRun:
    """Play all episodes under all policies, simulate the same, and write what came of it.

    The folder of results appears whole at the end, or not at all.

    Raises:
        InputError: If the config asks for what cannot be, or not even one play fits the time budget.
    """
    path = path_settings(config)
    scenario = scenario_of(config, path)
    try:
        env = Compression(scenario, config.codecs)
    except ValueError as error:  # of a codec that there is none of
        raise InputError(config.name, "codecs", str(error)) from error
    policies = {name: _policy(name, env) for name in config.policies}
    wanted = list(product(config.seeds, range(config.repeats), policies))
    over_s = time.monotonic() + 60 * config.minutes
    takes: list[Take] = []
    why_not = ""
    with Progress(*_BAR, console=console) as bar:
        line = bar.add_task("", total=len(wanted) * config.transfers)
        for seed, plays in groupby(wanted, key=lambda one: one[0]):
            with tempfile.TemporaryDirectory(prefix="dwcp-testbed-") as room:
                bar.update(line, description=f"payloads of seed {seed}")
                episode, payloads = _episode(config, scenario, seed, Path(room))
                simulated: dict[str, _Simulated] = {}
                for _, repeat, name in plays:
                    stage = Stage(episode, payloads, env, _drawn(path, seed, repeat))
                    bar.update(line, description=f"{label(name)}, seed {seed}")
                    if name not in simulated:  # before it is played for real: this compiles kernels
                        simulated[name] = _simulated(stage, policies[name])
                    found = _play(stage, policies[name], over_s - time.monotonic(), lambda: bar.advance(line))
                    if found is not None:
                        real, waited_s, why_not = found
                        takes.append(Take(label(name), seed, repeat, real, *simulated[name], waited_s))
    if not takes:
        problem = f"expected at least one play in {config.minutes:g} minutes, got none"
        raise InputError(config.name, "minutes", f"{problem}; allow more, or ask for fewer transfers")
    return write_run(config, results, takes, why_not=why_not, left_out=len(wanted) - len(takes))


def path_settings(config: TestbedConfig) -> PathSettings:
    """The path of a config as the emulator takes it."""
    given = config.path
    return PathSettings(
        rate_bytes_s=given.rate,
        rtt_s=given.rtt_s,
        loss=given.loss,
        receive_buffer_bytes=round(given.window_mb * MB / WINDOW_SHARE),
    )


def _drawn(path: PathSettings, seed: int, repeat: int) -> PathSettings:
    """A path that loses other packets in each play; policies are dealt the same."""
    return replace(path, seed=int(stream(seed, f"losses of repeat {repeat}").integers(2**32)))


def scenario_of(config: TestbedConfig, path: PathSettings) -> Scenario:
    """The scenario of a config as the testbed can stage it.

    Raises:
        InputError: If there is no such scenario.
    """
    scenario = resolve(config.scenario)
    workload = replace(scenario.workload, max_bytes=config.max_mb * MB)
    if config.interval_s is not None:
        workload = replace(workload, interval_s=config.interval_s)
    if config.size_scale is not None:
        workload = replace(workload, size_scale=config.size_scale)
    cores = min(scenario.host.cores, _cores_here())
    return staged_scenario(
        replace(scenario, workload=workload), path, cores=cores, transfers=config.transfers
    )


def _cores_here() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _policy(name: str, env: Compression) -> Policy:
    policy = policy_of("policies", name, env)
    if policy.needs_world:
        problem = "looks into the simulated world, and here there is a real one"
        raise InputError("policies", name, f"{problem}; take it out of the config")
    return policy


def _episode(
    config: TestbedConfig, scenario: Scenario, seed: int, room: Path
) -> tuple[Episode, list[PayloadFile]]:
    """An episode and its payloads, made and measured."""
    files: list[Path] = []
    if config.files is not None:
        files = sorted(one for one in Path(config.files).rglob("*") if one.is_file() and one.stat().st_size)
        if not files:
            raise InputError(config.name, "files", f"expected files in {config.files}, found none")
    drawn = staged_episode(scenario, seed)
    payloads = make_payloads(drawn, room, files=files, most_bytes=config.disk_gb * 1e3 * MB)
    return as_measured(drawn, payloads, ZstdCodec(), HdeCodec()), payloads


class _Simulated(NamedTuple):
    """What the simulator makes of a stage under a policy, whatever packets its path loses in a play.

    Attributes:
        world: The episode as it was drawn, played to its end.
        cost_s: Mean cost over which packets the path loses: for real it is one draw of many.
        noted: The questions and answers of that world.
    """

    world: World
    cost_s: float
    noted: Decisions


def _simulated(stage: Stage, policy: Policy) -> _Simulated:
    env, episode, noted = stage.env, stage.episode, Decisions()
    world = play(env, episode, policy, watch=lambda at, seen, done: noted(at, seen, int(done)))
    if stage.path.loss == 0:
        return _Simulated(world, world.cost, noted)
    rng = stream(episode.seed, "packets that a testbed's path may lose")
    shape = episode.loss_gaps.shape
    draws = (replace(episode, loss_gaps=rng.standard_exponential(shape)) for _ in range(_DRAWS))
    cost_s = float(np.mean([play(env, one, policy).cost for one in draws]))
    return _Simulated(world, cost_s, noted)


def _play(
    stage: Stage, policy: Policy, left_s: float, watch: Callable[[], object]
) -> tuple[Played, float, str] | None:
    """Play a stage under a policy, on a path of its own; None when that takes longer than is left.

    Returns:
        What was played, how long its threads waited for cores, and why the path is none between namespaces.
    """
    episode, env = stage.episode, stage.env
    host = episode.scenario.host

    def answer(question: CodecQuestion) -> int:
        return int(policy.act(env.features.observe(question)))  # type: ignore[arg-type]  # of one choice

    async def playing() -> tuple[Played, float]:
        async with (
            asyncio.timeout(max(left_s, 0.0)),
            mover(
                ends.server_address,
                sender_in=ends.client,
                receiver_in=ends.server,
                reach=ends.reach,
                workers=host.cores,
                control=episode.scenario.paths[0].control,
                baseline_bytes=host.baseline_memory,
            ) as both,
        ):
            player = Player(episode, stage.payloads, env.codecs, answer, both, watch=lambda _: watch())
            waited_s = starved_s()
            played = await player.play()
            return played, starved_s() - waited_s

    policy.reset()
    try:
        with emulated_path(stage.path) as ends:
            return *asyncio.run(playing()), ends.why_not
    except TimeoutError:
        return None
    except MoveError as error:
        raise InputError("testbed", "", str(error)) from error
