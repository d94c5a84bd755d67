"""DQN and QR-DQN that may take only what is allowed, in the idiom of sb3-contrib's MaskablePPO."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import QRDQN
from sb3_contrib.common.maskable.utils import get_action_masks
from sb3_contrib.qrdqn.policies import QRDQNPolicy, QuantileNetwork
from stable_baselines3 import DQN
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from agents.learners.sharing import linear_layers, share
from envs.base import Slots

_FORBIDDEN: Final = -1e8
"""Value of what is not allowed, as in MaskablePPO; finite, for after an end it is multiplied by 0."""


def with_mask_columns(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> spaces.Box:
    """The space of observations (F,) that are followed by their masks (A,)."""
    assert isinstance(observation_space, spaces.Box)
    assert isinstance(action_space, spaces.Discrete)
    actions = int(action_space.n)
    return spaces.Box(
        np.append(observation_space.low, np.zeros(actions, np.float32)),
        np.append(observation_space.high, np.ones(actions, np.float32)),
        dtype=np.float32,
    )


class MaskColumns(VecEnvWrapper):
    """Appends each environment's ``action_masks()`` to its observation: so a replay buffer keeps both.

    Episodes must end by termination, where nothing is chosen any more: the mask is then all ones.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv, with_mask_columns(venv.observation_space, venv.action_space))

    def reset(self) -> VecEnvObs:
        """Start all environments."""
        return self._with_masks(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """The step that was begun, with masks of the questions that are open now."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for number in np.flatnonzero(dones):
            last = infos[number]["terminal_observation"]
            rest = np.ones(self.observation_space.shape[0] - len(last), np.float32)  # type: ignore[index]
            infos[number]["terminal_observation"] = np.append(last, rest)
        return self._with_masks(observations), rewards, dones, infos

    def _with_masks(self, observations: Any) -> NDArray[np.float32]:
        return np.concatenate([observations, get_action_masks(self.venv)], axis=1, dtype=np.float32)


class _WithoutMask(BaseFeaturesExtractor):
    """What the networks see of an observation: all but its mask."""

    def __init__(self, observation_space: spaces.Box, actions: int) -> None:
        super().__init__(observation_space, features_dim=observation_space.shape[0] - actions)

    def forward(self, observations: Tensor) -> Tensor:
        return observations[:, : self.features_dim]


class _BlindToMask(BasePolicy):
    """What the policies share: their networks get no mask as an input."""

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """All but the mask, as it is."""
        return _WithoutMask(self.observation_space, int(self.action_space.n))  # type: ignore[arg-type, attr-defined]


def _kept(values: Tensor, wanted: Tensor) -> Tensor:
    """Values (N, A) or (N, quantiles, A) of the actions wanted (N, A); of others, one below all."""
    wanted = wanted if values.ndim == 2 else wanted.unsqueeze(1)
    return torch.where(wanted, values, torch.full_like(values, _FORBIDDEN))


def _forbid(network: nn.Module, inputs: tuple[Tensor], values: Tensor) -> Tensor:
    """Forward hook: what the last columns of an observation do not allow is never the best."""
    return _kept(values, inputs[0][:, -values.shape[-1] :] > 0.5)


def _choice_of(online: QNetwork) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    """Forward hook of a target network: only what the online network would choose keeps its value."""

    def only_the_choice(network: nn.Module, inputs: tuple[Tensor], values: Tensor) -> Tensor:
        chosen = nn.functional.one_hot(online._predict(inputs[0]), values.shape[-1])
        return _kept(values, chosen.bool())

    return only_the_choice


class MaskedDQNPolicy(_BlindToMask, DQNPolicy):
    """Policy of DQN for observations whose last columns are a mask.

    Args:
        slots: Slots that share their weights; None when there are none.
    """

    def __init__(self, *args: Any, slots: Slots | None = None, **kwargs: Any) -> None:
        self._slots = slots
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> QNetwork:
        """A network that never prefers what the mask forbids, whoever asks it."""
        network = super().make_q_net()
        if self._slots is not None:
            share(linear_layers(network.q_net), self._slots)
        network.register_forward_hook(_forbid)  # type: ignore[arg-type]
        return network


class MaskedQRDQNPolicy(_BlindToMask, QRDQNPolicy):
    """Policy of QR-DQN for observations whose last columns are a mask.

    Args:
        slots: Slots that share their weights; None when there are none.
    """

    def __init__(self, *args: Any, slots: Slots | None = None, **kwargs: Any) -> None:
        self._slots = slots
        super().__init__(*args, **kwargs)

    def make_quantile_net(self) -> QuantileNetwork:
        """A network that never prefers what the mask forbids, whoever asks it."""
        network = super().make_quantile_net()
        if self._slots is not None:
            actions = int(self.action_space.n)  # type: ignore[attr-defined]
            starts = range(0, actions * self.n_quantiles, actions)
            done = tuple(tuple(start + one for start in starts for one in own) for own in self._slots.done)
            share(linear_layers(network.quantile_net), self._slots._replace(done=done))
        network.register_forward_hook(_forbid)  # type: ignore[arg-type]
        return network


class MaskedOffPolicy(OffPolicyAlgorithm):
    """What the masked kinds share: masks beside observations, and random choices among what is allowed.

    Environments must have ``action_masks()``, as for MaskablePPO. The mask travels as the last columns of the
    observation, through the replay buffer, too; the networks forbid by it what is not allowed, in the greedy
    choice and in the target alike, and ``train()`` is left as it is. Where all is allowed, nothing differs
    from the algorithm without masks.

    Source:
        Huang, Ontañón: A Closer Look at Invalid Action Masking in Policy Gradient Algorithms. FLAIRS 2022.
    """

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        wrapped = OffPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        return wrapped if isinstance(wrapped, MaskColumns) else MaskColumns(wrapped)

    def predict(  # type: ignore[override]
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Allowed actions, now and then random ones unless ``deterministic``.

        Args:
            observation: Shape (F,) or (N, F) with ``action_masks``; without them, the masks are its last
                columns.
            state: Passed through.
            episode_start: Without effect.
            deterministic: Whether to take the best action always.
            action_masks: True where an action is allowed, shape (A,) or (N, A).
        """
        if action_masks is not None:
            observation = np.concatenate([observation, action_masks], axis=-1, dtype=np.float32)
        actions, state = super().predict(observation, state, episode_start, deterministic)
        return self._repaired(actions, observation), state

    def _sample_action(
        self, learning_starts: int, action_noise: Any = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        actions, _ = super()._sample_action(learning_starts, action_noise, n_envs)
        actions = self._repaired(actions, self._last_obs)  # type: ignore[arg-type]
        return actions, actions

    def _repaired(self, actions: NDArray[Any], observation: NDArray[np.float32]) -> NDArray[Any]:
        """Draw again, among what is allowed, where chance took what is not: all that is stays as likely."""
        count = int(self.action_space.n)  # type: ignore[attr-defined]
        masks = observation[..., -count:].reshape(-1, count).astype(np.int8)
        taken = actions.flatten()
        for row in np.flatnonzero(masks[np.arange(len(masks)), taken] == 0):
            taken[row] = self.action_space.sample(masks[row])
        return taken.reshape(actions.shape)


class MaskedDQN(MaskedOffPolicy, DQN):  # type: ignore[misc]
    """DQN with masks; everything else is `stable_baselines3.DQN`'s.

    Args:
        double: Whether the online network chooses the action that the target network values.

    Source:
        van Hasselt, Guez, Silver: Deep Reinforcement Learning with Double Q-Learning. AAAI 2016.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": MaskedDQNPolicy}

    def __init__(self, *args: Any, double: bool = True, **kwargs: Any) -> None:
        self.double = double
        super().__init__(*args, **kwargs)

    def _create_aliases(self) -> None:
        super()._create_aliases()
        if self.double:
            self.q_net_target.register_forward_hook(_choice_of(self.q_net))  # type: ignore[arg-type]


class MaskedQRDQN(MaskedOffPolicy, QRDQN):  # type: ignore[misc]
    """QR-DQN with masks; everything else is `sb3_contrib.QRDQN`'s.

    Source:
        Dabney, Rowland, Bellemare, Munos: Distributional Reinforcement Learning with Quantile Regression.
        AAAI 2018.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": MaskedQRDQNPolicy}
