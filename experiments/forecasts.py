"""From names in a config to forecasts: what a supervised run has trained, as inputs of policies."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from envs.codec_rule import SHORTEST
from envs.forecasts import Foresight, Foretelling
from sim.codecs import parse_codec
from sim.errors import InputError
from sim.refusals import suggestion

FORECASTS: Final = ("path_law", "bandwidth_forecast", "performance_forecast")
"""What ``environment.options.features`` may name; the first is a formula and needs no model."""
FILES: Final = {
    "bandwidth_forecast": Path("bandwidth") / "probes.npz",
    "performance_forecast": Path("performance") / "performance.npz",
}
"""Where the folder of a supervised run keeps the model of each."""
DISPATCH_FILE: Final = Path("performance") / "dispatch.npz"
"""The performance predictor for what a dispatch or share question tells of a transfer."""
TASKS: Final = ("scheduling", "allocation")
"""Tasks whose rules may plan by it: their option ``models`` alone is enough."""
_PLACE: Final = "environment.options"


def options_with_forecasts(options: dict[str, Any], codecs: Sequence[str]) -> dict[str, Any]:
    """Options of an environment, ``features`` and ``models`` in them replaced by ``forecasts``.

    Args:
        options: Of a config: ``features`` names forecasts, ``models`` the folder of a supervised run.
        codecs: Answers of the codec question.

    Raises:
        InputError: If a name is unknown, or the folder does not hold its model.
    """
    if "features" not in options and "models" not in options:
        return options
    rest = {name: value for name, value in options.items() if name not in ("features", "models")}
    names, folder = options.get("features") or [], options.get("models")
    for name in names:
        if name not in FORECASTS:
            problem = f"unknown forecast {name!r}{suggestion(str(name), list(FORECASTS))}"
            raise InputError(_PLACE, "features", f"{problem}; there are {', '.join(FORECASTS)}")
    if set(names) & set(FILES) and not isinstance(folder, str):
        problem = "expected the folder of a `dwcp-gym supervised` run that has trained them, got none"
        raise InputError(_PLACE, "models", f"{problem}; name it, or leave `features` out")
    if not names:
        return rest
    return {**rest, "forecasts": _foresights(tuple(names), str(folder), tuple(codecs))}


def foretelling(options: dict[str, Any], codecs: Sequence[str]) -> Foretelling:
    """What predicts the times of transfers for the rules of a scheduling or allocation task.

    Args:
        options: Of a config: ``models`` names the folder of a supervised run; ``codec`` the codec rule.
        codecs: Of the environment.

    Raises:
        InputError: If the folder does not hold the model.
    """
    return _foretelling(str(options["models"]), str(options.get("codec", SHORTEST)), tuple(codecs))


@lru_cache(maxsize=4)
def _foretelling(folder: str, codec: str, names: tuple[str, ...]) -> Foretelling:
    from agents.supervised.foretelling import Foreteller
    from agents.supervised.performance import PerformancePredictor

    codecs = [parse_codec(name) for name in names]
    answers = [one for one in codecs if codec in (SHORTEST, one.name)]
    return Foreteller(PerformancePredictor.load(Path(folder) / DISPATCH_FILE), codecs, answers)


@lru_cache(maxsize=4)
def _foresights(names: tuple[str, ...], folder: str, codecs: tuple[str, ...]) -> tuple[Foresight, ...]:
    from agents.supervised.forecaster import Forecaster
    from agents.supervised.foresight import BandwidthForesight, PerformanceForesight
    from agents.supervised.path_law import PathLaw
    from agents.supervised.performance import PerformancePredictor

    answers = [parse_codec(codec) for codec in codecs]
    found: list[Foresight] = []
    for name in names:
        if name == "path_law":
            found.append(PathLaw(answers))
        elif name == "bandwidth_forecast":
            found.append(BandwidthForesight(Forecaster.load(Path(folder) / FILES[name])))
        else:
            found.append(PerformanceForesight(PerformancePredictor.load(Path(folder) / FILES[name]), answers))
    return tuple(found)
