"""Policies as ONNX graphs with one face: ``obs`` float32 (N, F) in, ``action`` and ``scores`` out.

Where an environment forbids actions, ``action_mask`` bool (N, A) goes in as well.
"""

import json
import logging
import warnings
from copy import deepcopy
from typing import Any, Final

import numpy as np
import onnx
import torch
from gymnasium import spaces
from onnx import TensorProto, helper, numpy_helper
from sb3_contrib import QRDQN, MaskablePPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from agents.learners.masking import MaskedOffPolicy
from agents.learners.sharing import unrolled
from agents.supervised.ensemble import TREE_SHARE, Ensemble
from agents.supervised.two_class import TwoClassNetwork
from experiments.onnx_trees import TREE_OPSET, tree_node
from experiments.shadow.loader import SCORES, SIZES

FORBIDDEN: Final = -1e8
"""Score of what a mask forbids, as in sb3-contrib: finite, so that no runtime meets infinities."""

OPSET: Final = 18
"""Below the exporter's default (20), so that older and smaller runtimes load it."""


def sb3_graph(
    model: BaseAlgorithm, vecnorm: VecNormalize | None = None, *, masked: bool = False
) -> onnx.ModelProto:
    """The deterministic policy of a Stable-Baselines3 model.

    Args:
        model: (Maskable) PPO, DQN or QR-DQN on one-dimensional Box observations, with Discrete, MultiDiscrete
            (PPO only) or Box actions (plain PPO only).
        vecnorm: The normaliser that the model was trained behind; becomes part of the graph, in its float64.
        masked: Whether the graph takes a mask of the allowed actions.

    Returns:
        ``scores`` are probabilities (PPO; 0 for what the mask forbids) or action values (DQN, of QR-DQN their
        means; before the mask), (N, A), those of all parts of a MultiDiscrete side by side; ``action`` is
        int64 (N,), or (N, parts). For Box actions ``scores`` are the means and ``action`` the same clipped to
        the space, float32 (N, size). The graph's metadata say which.

    Raises:
        ValueError: If the model, its observations or its actions are of another kind.
    """
    if not isinstance(model, PPO | MaskablePPO | DQN | QRDQN):
        raise ValueError(f"expected a PPO or DQN model, got {type(model).__name__}; others are not exported")
    observed, answered = model.observation_space, model.action_space
    if not isinstance(observed, spaces.Box) or len(observed.shape) != 1:
        raise ValueError(
            f"expected one-dimensional Box observations, got {observed}; flatten them in the environment"
        )
    if isinstance(answered, spaces.Discrete):
        sizes = [int(answered.n)]
    elif isinstance(answered, spaces.MultiDiscrete):
        sizes = [int(size) for size in answered.nvec]
    elif isinstance(answered, spaces.Box) and len(answered.shape) == 1 and not masked:
        sizes = []
    else:
        raise ValueError(
            f"expected Discrete, MultiDiscrete or, unmasked, Box actions, got {answered}; others are not "
            "exported"
        )
    scores = _scores(model, vecnorm)
    features = next(one.in_features for one in scores.modules() if isinstance(one, nn.Linear))
    policy = _LearnerPolicy(scores, answered, chooses=isinstance(model, PPO | MaskablePPO))
    proto = exported(policy, features, ["action", "scores"], sum(sizes) if masked else 0)
    return finished(proto, sizes, policy.meaning)


def _scores(model: Any, vecnorm: VecNormalize | None) -> nn.Module:
    """From an observation to the scores, without value network, samples and checks."""
    policy, layers = model.policy, list[nn.Module]()
    if vecnorm is not None and vecnorm.norm_obs:
        layers.append(_Normalise(vecnorm))
    if isinstance(model, PPO | MaskablePPO):
        layers += [policy.pi_features_extractor, policy.mlp_extractor.policy_net, policy.action_net]
    else:
        network = policy.quantile_net if isinstance(model, QRDQN) else policy.q_net
        if not isinstance(model, MaskedOffPolicy):  # whose extractor takes the mask off, which is not there
            layers.append(network.features_extractor)
        layers.append(network.quantile_net if isinstance(model, QRDQN) else network.q_net)
        if isinstance(model, QRDQN):
            layers.append(_MeanOverQuantiles(model.n_quantiles))
    return unrolled(nn.Sequential(*deepcopy(layers)).cpu())


def selector_graph(selector: Ensemble | TwoClassNetwork) -> onnx.ModelProto:
    """A supervised selector; ``scores`` are its probabilities, (N, A).

    Votes are counted in float64, as ``probabilities`` does, so that rounding decides no action.

    Raises:
        ValueError: Before the selector has learned, or if it is of another kind.
    """
    if isinstance(selector, TwoClassNetwork):
        network = selector.network()
        proto = exported(_Argmax(network), network.features, ["action", "scores"])
        return finished(proto, [selector.actions], "probabilities")
    if not isinstance(selector, Ensemble):
        raise ValueError(f"expected an Ensemble or a TwoClassNetwork, got {type(selector).__name__}")
    booster, network = selector.parts()
    proto = exported(deepcopy(network), network.features, ["network"])
    graph = proto.graph
    graph.initializer.extend(
        numpy_helper.from_array(np.array(share, np.float64), name)
        for name, share in (("tree_share", TREE_SHARE), ("network_share", 1 - TREE_SHARE))
    )
    graph.node.extend(
        [
            tree_node(booster, "obs", "margin"),
            helper.make_node("Cast", ["margin"], ["margin64"], to=TensorProto.DOUBLE),
            helper.make_node("Softmax", ["margin64"], ["trees"], axis=1),
            helper.make_node("Mul", ["trees", "tree_share"], ["tree_votes"]),
            helper.make_node("Mul", ["network", "network_share"], ["network_votes"]),
            helper.make_node("Add", ["tree_votes", "network_votes"], ["votes"]),
            helper.make_node("ArgMax", ["votes"], ["action"], axis=1, keepdims=0),
            helper.make_node("Cast", ["votes"], ["scores"], to=TensorProto.FLOAT),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", selector.actions]),
        ]
    )
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", TREE_OPSET))
    return finished(proto, [selector.actions], "probabilities")


class _Normalise(nn.Module):
    """``VecNormalize.normalize_obs`` with frozen statistics, in the same float64 arithmetic."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, vecnorm: VecNormalize) -> None:
        super().__init__()
        statistics = vecnorm.obs_rms
        if not isinstance(statistics, RunningMeanStd):
            raise ValueError(
                "expected VecNormalize of one Box observation, got a Dict; flatten it in the environment"
            )
        self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
        self.register_buffer(
            "spread", torch.sqrt(torch.as_tensor(statistics.var, dtype=torch.float64) + vecnorm.epsilon)
        )
        self.clip: float = float(vecnorm.clip_obs)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return torch.clamp((obs.double() - self.mean) / self.spread, -self.clip, self.clip).float()


class _MeanOverQuantiles(nn.Module):
    def __init__(self, quantiles: int) -> None:
        super().__init__()
        self.quantiles = quantiles

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(1, (self.quantiles, -1)).mean(dim=1)


class _LearnerPolicy(nn.Module):
    """What ``model.predict(..., deterministic=True)`` computes."""

    def __init__(self, scores: nn.Module, answered: spaces.Space[Any], *, chooses: bool) -> None:
        super().__init__()
        self.scores = scores
        self.chooses = chooses
        self.parts = answered.nvec.tolist() if isinstance(answered, spaces.MultiDiscrete) else None
        self.ends = None
        if isinstance(answered, spaces.Box):
            self.ends = torch.as_tensor(answered.low), torch.as_tensor(answered.high)

    @property
    def meaning(self) -> str:
        """What the scores are, in the word of a manifest."""
        if self.ends is not None:
            return "numbers"
        return "probabilities" if self.chooses else "action_values"

    def forward(
        self, obs: torch.Tensor, action_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.scores(obs)
        if self.ends is not None:
            return torch.clamp(scores, *self.ends), scores
        allowed = scores if action_mask is None else torch.where(action_mask, scores, FORBIDDEN)
        parts = [allowed] if self.parts is None else list(torch.split(allowed, self.parts, 1))
        if self.chooses:
            scores = torch.cat([part.softmax(1) for part in parts], 1)
        actions = [part.argmax(1) for part in parts]
        return (actions[0] if self.parts is None else torch.stack(actions, 1)), scores


class _Argmax(nn.Module):
    def __init__(self, probabilities: nn.Module) -> None:
        super().__init__()
        self.probabilities = deepcopy(probabilities)

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        votes = self.probabilities(obs)
        return votes.argmax(1), votes.float()


def exported(module: nn.Module, features: int, outputs: list[str], masked: int = 0) -> onnx.ModelProto:
    """The graph of a module; ``masked`` is the width of its mask, 0 without one."""
    given: tuple[torch.Tensor, ...] = (torch.zeros(2, features),)
    if masked:
        given = (*given, torch.ones(2, masked, dtype=torch.bool))
    batch = torch.export.Dim("batch")
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            given,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=["obs", "action_mask"][: len(given)],
            output_names=outputs,
            dynamic_shapes=tuple({0: batch} for _ in given),
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program; it must be called with dynamo=True")
    return program.model_proto


def finished(proto: onnx.ModelProto, sizes: list[int], scores: str) -> onnx.ModelProto:
    """Without the stack traces that the exporter leaves in it (they carry local paths), named and checked.

    Args:
        proto: The graph; it is changed.
        sizes: Actions of each part of an answer.
        scores: What the scores are: ``probabilities``, ``action_values`` or ``numbers``.
    """
    graph = proto.graph
    for part in (
        proto,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del graph.value_info[:]
    helper.set_model_props(proto, {SIZES: json.dumps(sizes), SCORES: scores})
    onnx.checker.check_model(proto, full_check=True)
    return proto
