"""From names in a config to forecasts: what a supervised run has trained, as inputs of policies."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from envs.forecasts import Foresight
from sim.codecs import parse_codec
from sim.errors import InputError
from sim.refusals import suggestion

FORECASTS: Final = ("bandwidth_forecast", "performance_forecast")
"""What ``environment.options.features`` may name."""
FILES: Final = {
    "bandwidth_forecast": Path("bandwidth") / "probes.npz",
    "performance_forecast": Path("performance") / "performance.npz",
}
"""Where the folder of a supervised run keeps the model of each."""
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
    if names and not isinstance(folder, str):
        problem = "expected the folder of a `dwcp-gym supervised` run that has trained them, got none"
        raise InputError(_PLACE, "models", f"{problem}; name it, or leave `features` out")
    if not names:
        return rest
    return {**rest, "forecasts": _foresights(tuple(names), str(folder), tuple(codecs))}


@lru_cache(maxsize=4)
def _foresights(names: tuple[str, ...], folder: str, codecs: tuple[str, ...]) -> tuple[Foresight, ...]:
    from agents.supervised.forecaster import Forecaster
    from agents.supervised.foresight import BandwidthForesight, PerformanceForesight
    from agents.supervised.performance import PerformancePredictor

    found: list[Foresight] = []
    for name in names:
        path = Path(folder) / FILES[name]
        if name == "bandwidth_forecast":
            found.append(BandwidthForesight(Forecaster.load(path)))
        else:
            answers = [parse_codec(codec) for codec in codecs]
            found.append(PerformanceForesight(PerformancePredictor.load(path), answers))
    return tuple(found)
