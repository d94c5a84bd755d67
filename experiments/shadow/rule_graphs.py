"""Rules of the catalogue as small graphs, for an incumbent is a bundle like any other.

A rule is written down twice, here and in `agents`; an export is refused where the two differ on a row.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from agents.dispatch_rules import LATE_S, Layout
from agents.heuristics import (
    DELTA_SCAN_RATE,
    ENCODE_RATE,
    MEAN_PRIORITY,
    SPEEDUP,
    Contention,
    DwcpRule,
    Estimate,
    Fixed,
    ModeRule,
    Rule,
)
from agents.policy import Policy
from envs.base import WorldEnv
from experiments.actions import action_names
from experiments.onnx_graphs import exported, finished
from sim.codecs import Codec
from sim.errors import InputError
from sim.refusals import suggestion
from sim.units import MBIT, MIB

_NOBODY: Final = -1e30
"""Preference for waiting: less than for any candidate."""

_ORDERS: Final[dict[str, Callable[[Callable[[str], Tensor]], Tensor]]] = {
    "fifo": lambda of: of("waited_s"),
    "sjf": lambda of: -of("seconds"),
    "edf": lambda of: -_to_deadline_s(of),
    "wspt": lambda of: of("index"),
    "hrrn": lambda of: of("waited_s") / of("seconds"),
    "least_slack": lambda of: of("seconds") - _to_deadline_s(of),
}
"""Orders of `dwcp/Scheduling-v0` that look at one candidate at a time; the highest goes."""

_CODEC_RULES: Final = ("dwcp_rule", "mode_rule", "estimate", "contention")


def rule_names(env: WorldEnv) -> list[str]:
    """The rules of a task that can be a graph."""
    if env.task == "compression":
        return [*(codec.name for codec in env.codecs), *_CODEC_RULES]
    return list(_ORDERS) if env.task == "scheduling" else []


def rule_graph(policy: Policy, env: WorldEnv) -> onnx.ModelProto:
    """The graph of a rule, from ``obs`` (and ``action_mask``) to ``action`` and ``scores``.

    Args:
        policy: Made by `agents.catalogue.make_policy` for this environment.
        env: Whose observations it takes.

    Raises:
        InputError: If the rule is none that a graph can say.
    """
    known = rule_names(env)
    if policy.name not in known:
        way_out = suggestion(policy.name, known) or f"; known: {', '.join(known) or 'none of this task'}"
        raise InputError(policy.name, "", f"is no rule that can be a bundle{way_out}")
    module: _CodecRule | _Order
    if env.task == "scheduling":
        module = _Order(policy.name, env)
    else:
        assert isinstance(policy, Fixed | Rule)
        module = _CodecRule(policy, env)
    proto = exported(
        module, len(env.features), ["action", "scores"], len(action_names(env)) if env.masked else 0
    )
    return finished(proto, [len(action_names(env))], module.meaning)


class _Units(nn.Module):
    """From an observation back to features in their units, in float64, as `FeatureList.unscaled` does it."""

    def __init__(self, env: WorldEnv) -> None:
        super().__init__()
        rules = torch.as_tensor(env.features.rules)
        self.gain, self.shift = nn.Buffer(rules[:, 3]), nn.Buffer(rules[:, 4])
        self.log = nn.Buffer(rules[:, 2] > 0.5)

    def forward(self, obs: Tensor) -> Tensor:
        straight = (obs.double() - self.shift) / self.gain
        return torch.where(self.log, torch.where(self.log, straight, 0.0).exp(), straight)


class _CodecRule(nn.Module):
    def __init__(self, policy: Fixed | Rule, env: WorldEnv) -> None:
        super().__init__()
        self.units, self.rule, self.codecs = _Units(env), policy, env.codecs
        self.places = {name: env.features.index(name) for name in env.features.names}
        self.meaning = "action_values" if isinstance(policy, Estimate) else "probabilities"

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        seen = _Columns(self.units(obs), self.places)
        if isinstance(self.rule, Estimate):
            costs = torch.stack([_cost(self.rule, codec, seen) for codec in self.codecs], 1)
            return costs.argmin(1), -costs.float()
        if isinstance(self.rule, DwcpRule):
            action = _dwcp(seen, self._prefer)
        elif isinstance(self.rule, ModeRule):
            action = _mode(seen, self._prefer)
        else:
            always = int(self.rule.act(np.zeros(len(self.places), np.float32)))
            action = torch.zeros_like(obs[:, 0], dtype=torch.int64) + always
        return action, nn.functional.one_hot(action, len(self.codecs)).float()

    def _prefer(self, *families: str) -> Tensor:
        """The action that a rule takes which prefers these families in this order."""
        ranks = [families.index(one.family) if one.family in families else 99 for one in self.codecs]
        return torch.tensor(ranks.index(min(ranks)))


class _Columns:
    """Features by name, in their units, shape (N,) each."""

    def __init__(self, values: Tensor, places: dict[str, int]) -> None:
        self._values, self._places = values, places

    def __getitem__(self, name: str) -> Tensor:
        return self._values[:, self._places[name]]


_Prefer = Callable[..., Tensor]


def _dwcp(seen: _Columns, prefer: _Prefer) -> Tensor:
    paid = (seen["recent_hde_ratio"] > 10) & (seen["has_baseline"] > 0.5)
    delta = paid | (seen["bandwidth_mbps"] < 100)
    near = (seen["rtt_ms"] < 1) & (seen["bandwidth_mbps"] > 500)
    return torch.where(delta & ~near, prefer("hde", "zstd"), prefer("amst", "none"))


def _mode(seen: _Columns, prefer: _Prefer) -> Tensor:
    raw = (seen["size_mb"] * MIB < 1024) | ((seen["entropy"] > 0.85) & (seen["compressibility"] < 0.1))
    fast = seen["bandwidth_mbps"] >= 1000
    far = (seen["rtt_ms"] > 50) | ~fast
    held, better = seen["has_baseline"] > 0.5, seen["recent_hde_ratio"] > seen["recent_zstd_ratio"]
    delta = (far & held) | (~far & better)
    smaller = torch.where(delta, prefer("hde", "zstd"), prefer("zstd"))
    sent = torch.where((seen["rtt_ms"] < 10) & fast, prefer("amst", "none"), smaller)
    return torch.where(raw, prefer("none"), sent)


def _cost(rule: Estimate, codec: Codec, seen: _Columns) -> Tensor:
    """What `Estimate` and `Contention` compute, of columns in place of numbers."""
    speedup = SPEEDUP[codec.family]
    alone_s = seen["none_time_s"] / (seen[speedup] if speedup else 1.0)
    size, encode = seen["size_mb"] * MIB, ENCODE_RATE[codec.family]
    held = (seen["has_baseline"] > 0.5) & codec.keeps_baseline
    core_s = torch.where(held, size * (1.0 / DELTA_SCAN_RATE + seen["changed"] / encode), size / encode)
    if not isinstance(rule, Contention):
        return seen["priority"] * alone_s + rule.cpu_price * core_s
    ratio = torch.where(held, seen["recent_hde_ratio"], 1.0)
    if codec.level:
        of_sample = 1.0 / (1.0 - seen["compressibility"]).clamp(min=1e-3)
        ratio = torch.where(held, ratio, of_sample)
    wire_s = size / ratio / (seen["capacity_mbps"] * MBIT)
    others, wire, core = seen["active_transfers"], seen["wire_backlog_s"], seen["core_backlog_s"]
    at_cores = others * core / (wire + core)
    at_wire = others - at_cores
    cores_s = core_s / seen["cores"]
    own = torch.maximum(torch.maximum(alone_s, wire_s * (1 + at_wire)), cores_s * (1 + at_cores))
    caused = wire_s * at_wire + cores_s * at_cores
    return seen["priority"] * own + MEAN_PRIORITY * caused + rule.cpu_price * core_s


class _Order(nn.Module):
    """The legal candidate that comes first goes; nobody does where none may."""

    meaning = "preferences"

    def __init__(self, name: str, env: WorldEnv) -> None:
        super().__init__()
        layout = Layout(env.features)
        if layout.any_path:
            problem = "can be a bundle only where a transfer's path is given"
            raise InputError(name, "", f"{problem}; leave any_path out")
        self.units, self.score = _Units(env), _ORDERS[name]
        self.starts = {one: env.features.index(f"c0_{one}") for one in _NEEDED}
        self.candidates, self.length = layout.candidates, layout.candidate_length

    def forward(self, obs: Tensor, action_mask: Tensor) -> tuple[Tensor, Tensor]:
        values = self.units(obs)

        def of(name: str) -> Tensor:
            start = self.starts[name]
            return values[:, start : start + self.candidates * self.length : self.length]

        score = self.score(of)
        scores = torch.cat([score, torch.full_like(score[:, :1], _NOBODY)], 1)
        allowed = torch.where(action_mask, scores, 2 * _NOBODY)
        return allowed.argmax(1), scores.float()


_NEEDED: Final = ("waited_s", "seconds", "index", "late_s", "slack_s")


def _to_deadline_s(of: Callable[[str], Tensor]) -> Tensor:
    return torch.where(of("late_s") > LATE_S, -of("late_s"), of("slack_s"))
