"""The process that watches a rollout: gates move the candidate, figures for the page go to the store."""

import select
import sys
import time
from pathlib import Path
from typing import Any, Final

from experiments.rollout.rollout import Rollout
from experiments.serving.summary import SUMMARY, summarise
from experiments.serving.worker import stay_behind
from experiments.shadow.store import Store
from sim.errors import InputError

_PERIOD_S: Final = 5.0


def look(store: Store, rollout: Rollout, *, move: bool) -> dict[str, Any]:
    """Let the gates move the candidate, if they are to; keep the figures, and give them."""
    if move:
        rollout.tick()
    document = summarise(store, [one.as_json() for one in rollout.standings()])
    store.set_setting(SUMMARY, document)
    return document


def main() -> None:
    """``python -m experiments.serving.watch FOLDER [move]``: look every 5 s, until standard input ends."""
    stay_behind()
    store = Store(Path(sys.argv[1]), time.time)
    rollout = Rollout(store)
    while True:
        try:
            look(store, rollout, move=sys.argv[2:] == ["move"])
        except InputError as error:
            print(error, file=sys.stderr, flush=True)
        if select.select([sys.stdin], [], [], _PERIOD_S)[0]:
            return


if __name__ == "__main__":
    main()
