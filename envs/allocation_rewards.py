"""Rewards of the literature for sharing link and CPU: to train with, never to compare by."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from sim.decisions import ShareQuestion
from sim.telemetry import TransferRecord

FALCON_K: Final = 1.02
"""What a stream costs in `utility`: ``K`` in ``config_sender.py`` of the authors' code
(github.com/arif-zaman/Falcon-File-Transfer-Optimizer); other versions of that file have 1.04."""
_BAND: Final = (0.8, 0.9)
"""Utilisation of a link that the published reward calls efficient."""
_PARTS: Final = (0.4, 0.3, 0.2, 0.1)
"""Weights of completion, SLA, efficiency and fairness in the published reward."""


def published(ended: Sequence[TransferRecord], question: ShareQuestion | None) -> float:
    """The composite of the published resource allocator's plan, of one step, in [0, 1].

    ``0.4 completion + 0.3 SLA + 0.2 efficiency + 0.1 fairness``. The weights, the band and ``1 - CV`` are
    published; per step they are taken as:

    - completion: transfers that ended in the step, over those and what moves after it;
    - SLA: of the same transfers, those that were not or are not past their deadline;
    - efficiency: 1 while the wire rate of all that moves is 80 to 90 % of the provisioned capacity of their
      paths, outside of that the ratio to the nearer edge;
    - fairness: 1 minus the coefficient of variation of the metered rates, at least 0.

    Args:
        ended: Transfers that ended in the step.
        question: What moves after it; None after the last step, when efficiency and fairness count as 1.

    Source:
        tcp-agent-platform, docs/ai-enhancement-plan.md: weights, band and ``1 - CV``; taken by step by us.
    """
    running = question.running if question is not None else ()
    count = len(ended) + len(running)
    late = sum(one.end_s > one.deadline_s for one in ended) + sum(one.slack_s < 0 for one in running)
    parts = (
        len(ended) / count if count else 1.0,
        1.0 - late / count if count else 1.0,
        _efficiency(question) if question is not None else 1.0,
        _fairness([one.rate for one in running]),
    )
    return float(np.dot(_PARTS, parts))


def utility(question: ShareQuestion | None) -> float:
    """Falcon's utility of what moves: ``sum of throughput / K^streams``, throughput over capacity.

    Args:
        question: What moved in the step, as metered; None after the last step, which counts as 0.

    Source:
        Arifuzzaman and Arslan: Online Optimization of File Transfers in High-Speed Networks. SC 2021.
        Without its term for packet loss: loss is not a matter of our streams alone.
    """
    if question is None:
        return 0.0
    return sum(
        one.rate / one.ratio / question.paths[one.path].capacity / FALCON_K**one.streams
        for one in question.running
    )


def _efficiency(question: ShareQuestion) -> float:
    capacity = sum(question.paths[path].capacity for path in {one.path for one in question.running})
    used = sum(one.rate / one.ratio for one in question.running) / capacity
    return min(1.0, used / _BAND[0], _BAND[1] / max(used, 1e-9))


def _fairness(rates: Sequence[float]) -> float:
    mean = float(np.mean(rates)) if len(rates) else 0.0
    return max(0.0, 1.0 - float(np.std(rates)) / mean) if mean > 0 else 1.0
