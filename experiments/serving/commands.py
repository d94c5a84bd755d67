"""The verb ``dwcp-gym serve``."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sim.errors import InputError

console = Console()


def serve(
    store: Annotated[Path, typer.Option(help="Folder of decisions, outcomes and models; made if missing.")],
    incumbent: Annotated[Path | None, typer.Option(help="Bundle that answers; else the store's own.")] = None,
    candidate: Annotated[
        Path | None, typer.Option(help="Bundle to set beside it, in shadow; else the store's own.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address; others than loopback need a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8327,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that requests must bear; or set DWCP_GYM_TOKEN.")
    ] = None,
    gates: Annotated[
        bool, typer.Option("--gates/--no-gates", help="Let the gates move the candidate, on and back.")
    ] = True,
) -> None:
    """Answer decisions over HTTP, from an incumbent, with a candidate that is asked and logged beside it.

    The page, for a browser, is at the address that is printed; what the service can be asked, at /api.
    SIGHUP takes up what the store says at once, which else happens within a second.
    """
    try:
        from experiments.serving.server import listen, token_for
        from experiments.serving.server import serve as run
    except ModuleNotFoundError as error:
        problem = f"needs {error.name}; pip install 'dwcp-gym[serve]'"
        raise InputError("dwcp-gym serve", "", problem) from error
    from experiments.serving.roles import take_roles
    from experiments.shadow.store import Store

    token = token_for(host, token_file)
    made = listen(host, port)
    kept = Store(store, time.time, create=True)
    take_roles(kept, incumbent, candidate)
    run(kept, made, token, move=gates, started=_say)


def _say(address: str) -> None:
    console.print(f"{'serving':<12} {address}", markup=False, highlight=False, soft_wrap=True)
