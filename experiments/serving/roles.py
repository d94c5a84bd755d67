"""Bundles from the command line into the roles of a store."""

from pathlib import Path

from experiments.serving.deployment import check_choice
from experiments.shadow.bundle import open_bundle
from experiments.shadow.store import Store
from experiments.shadow.store_rows import EVERYWHERE, Transition


def take_roles(store: Store, incumbent: Path | None, candidate: Path | None) -> None:
    """Add bundles to a store and give them their roles; a candidate without any stage begins in shadow.

    Raises:
        InputError: If a bundle cannot be used, or another candidate is on its way.
    """
    if incumbent is not None:
        store.set_role("incumbent", _add(store, incumbent))
    if candidate is not None:
        from experiments.rollout.rollout import name_candidate  # brings pandas, which a service does without

        name_candidate(store, _add(store, candidate))
    version = store.role("candidate")
    if version is not None and not store.transitions(candidate=version):
        why = "set beside the incumbent when the service began"
        evidence = {"incumbent": store.role("incumbent")}
        step = (EVERYWHERE, version, "offline", "shadow", why, "operator", evidence)
        store.record(Transition(0, store.clock(), *step))


def _add(store: Store, path: Path) -> str:
    bundle = open_bundle(path)
    check_choice(bundle)
    return store.add_model(path, bundle.manifest).version
