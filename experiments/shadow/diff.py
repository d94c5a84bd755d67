"""What two bundles say differently, and on how many rows they do different things."""

from typing import Any, Final, NamedTuple

import numpy as np

from experiments.shadow.loader import Bundle

_APART: Final = ("seal", "files", "parity", "features")
"""Keys of a manifest that are compared in another way."""


class Difference(NamedTuple):
    """One key of the manifests, dotted, and what stands there; None where there is nothing."""

    key: str
    first: Any
    second: Any


class BundleDiff(NamedTuple):
    """How two bundles differ.

    Attributes:
        manifest: Keys with other values.
        features: Lines about features: missing ones, another place, another range.
        disagreement: Share of the parity rows of both on which they act differently; None where they do not
            take the same features or give the same actions.
        rows: How many rows that is.
    """

    manifest: list[Difference]
    features: list[str]
    disagreement: float | None
    rows: int

    @property
    def same(self) -> bool:
        """Whether they say the same and do the same."""
        return not self.manifest and not self.features and not self.disagreement


def diff(first: Bundle, second: Bundle) -> BundleDiff:
    """Compare manifests key by key, and answers on the parity rows of both."""
    flat = [_flat(one.manifest) for one in (first, second)]
    changed = [
        Difference(key, flat[0].get(key), flat[1].get(key))
        for key in sorted(flat[0].keys() | flat[1].keys())
        if flat[0].get(key) != flat[1].get(key)
    ]
    features = _features(first, second)
    comparable = (first.features, first.actions, first.face) == (
        second.features,
        second.actions,
        second.face,
    )
    if not comparable:
        return BundleDiff(changed, features, None, 0)
    rows = np.concatenate([first.rows, second.rows])
    masks = None
    if first.masks is not None and second.masks is not None:
        masks = np.concatenate([first.masks, second.masks])
    mine, other = (np.asarray(one.act(rows, masks)).reshape(len(rows), -1) for one in (first, second))
    apart = ~np.isclose(mine, other, rtol=1e-5, atol=1e-5).all(axis=1)
    return BundleDiff(changed, features, float(np.mean(apart)), len(rows))


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(place: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                walk(f"{place}.{key}" if place else key, item)
        else:
            found[place] = value

    walk("", {key: value for key, value in manifest.items() if key not in _APART})
    return found


def _features(first: Bundle, second: Bundle) -> list[str]:
    mine = {one["name"]: one for one in first.manifest["features"]}
    other = {one["name"]: one for one in second.manifest["features"]}
    lines = [f"{name} is only in the first" for name in mine if name not in other]
    lines += [f"{name} is only in the second" for name in other if name not in mine]
    both = [name for name in mine if name in other]
    if [name for name in second.features if name in mine] != both:
        lines.append("the features stand in another order")
    for name in both:
        for key in ("unit", "low", "high", "scale", "default"):
            if mine[name][key] != other[name][key]:
                lines.append(f"{name}.{key}: {mine[name][key]} and {other[name][key]}")
    return lines
