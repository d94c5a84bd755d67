"""Bundles from the command line into the roles of a store."""

from pathlib import Path

from experiments.serving.deployment import check_choice
from experiments.shadow.bundle import open_bundle
from experiments.shadow.store import Role, Store
from experiments.shadow.store_rows import EVERYWHERE, Transition


def take_roles(store: Store, incumbent: Path | None, candidate: Path | None) -> None:
    """Add bundles to a store and give them their roles; a candidate without any stage begins in shadow.

    Raises:
        InputError: If a bundle cannot be used.
    """
    given: tuple[tuple[Role, Path | None], ...] = (("incumbent", incumbent), ("candidate", candidate))
    for role, path in given:
        if path is not None:
            bundle = open_bundle(path)
            check_choice(bundle)
            store.set_role(role, store.add_model(path, bundle.manifest).version)
    version = store.role("candidate")
    if version is not None and not store.transitions(candidate=version):
        why = "set beside the incumbent when the service began"
        evidence = {"incumbent": store.role("incumbent")}
        step = (EVERYWHERE, version, "offline", "shadow", why, "operator", evidence)
        store.record(Transition(0, store.clock(), *step))
