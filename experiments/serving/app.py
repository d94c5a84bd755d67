"""The web of the service: its routes, its OpenAPI, its page."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from experiments.serving.decider import Asking, QuestionError
from experiments.serving.direct import Direct
from experiments.serving.guard import Guard
from experiments.serving.journal import JournalFullError
from experiments.serving.meters import CONTENT_TYPE
from experiments.serving.published import features_of
from experiments.serving.service import Service
from experiments.serving.shapes import (
    Answer,
    Answers,
    Feedback,
    Feedbacks,
    Health,
    Models,
    ModelShown,
    OneOrMoreFeedbacks,
    OneOrMoreQuestions,
    Question,
    Questions,
    Receipt,
    Receipts,
    Refusal,
    problem,
)
from experiments.shadow.store_rows import Outcome

_PAGES: Final = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/api": ("api.html", "text/html; charset=utf-8"),
    "/api.js": ("api.js", "text/javascript; charset=utf-8"),
}
_REASONS: Final = {
    400: "Not JSON, or the client left.",
    401: "No token, or a wrong one.",
    403: "Another host's name.",
    408: "Too slow.",
    413: "Too large.",
    415: "Not application/json.",
    422: "Cannot be answered; the detail says what and where.",
    429: "Too often.",
    503: "Not now.",
}


def make_app(service: Service, token: str | None) -> Guard:
    """The application, behind its guard.

    Args:
        service: To be started and closed with it.
        token: That requests must bear; None on loopback.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        loop, reloads = asyncio.get_running_loop(), set()

        def reload() -> None:
            reloads.add(task := loop.create_task(service.reload()))
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            await service.close()

    app = FastAPI(
        title="dwcp-gym decisions",
        version="1",
        description="Which codec, which transfer next: answers of an incumbent, with a candidate beside it.",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        responses={status: {"model": Refusal, "description": _REASONS[status]} for status in (401, 403, 429)},
    )
    app.add_exception_handler(RequestValidationError, _refuse_shape)
    app.add_exception_handler(QuestionError, _refuse_question)
    app.add_exception_handler(JournalFullError, _refuse_for_now)
    _add_questions(app, service)
    _add_state(app, service)
    for path, (name, kind) in _PAGES.items():
        _add_page(app, path, Path(__file__).parent / name, kind)
    return Guard(Direct(app, partial(_answer, service)), service.limits, token)


def _add_questions(app: FastAPI, service: Service) -> None:
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Refusal, "description": _REASONS[status]}
        for status in (400, 408, 413, 415, 422, 503)
    }

    @app.post("/v1/decisions", responses=refusals, operation_id="decide", summary="Decide")
    async def decide(body: OneOrMoreQuestions) -> Answer | Answers:
        """Answer one question, or several in one request. Several with one key see one policy."""
        return await _answer(service, body)

    missing: dict[int | str, dict[str, Any]] = {404: {"model": Receipt}, 409: {"model": Receipt}}

    @app.post(
        "/v1/outcomes", responses=refusals | missing, operation_id="settle", summary="Say what came of it"
    )
    async def settle(body: OneOrMoreFeedbacks, response: Response) -> Receipt | Receipts:
        """Store what came of decisions. What is acknowledged is on the disk, with all decisions before it.

        The same outcome again is `repeated`, another one for the same decision a `conflict` that changes
        nothing. Of a single one, 404 says that the decision is not in the log, 409 a conflict.
        """
        several = body.outcomes if isinstance(body, Feedbacks) else [body]
        now = service.store.clock()
        receipts = await service.settle([_outcome(one, now) for one in several])
        shown = [Receipt(id=one.id, status=receipt) for one, receipt in zip(several, receipts, strict=True)]
        if isinstance(body, Feedbacks):
            return Receipts(outcomes=shown)
        response.status_code = {"unknown": 404, "conflict": 409}.get(receipts[0], 200)
        return shown[0]


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", operation_id="models", summary="Who answers")
    async def models() -> Models:
        """The models of the store, their roles, and the stage of each region."""
        now, found = service.now, await asyncio.to_thread(service.store.models)
        shown = []
        roles: dict[str, Literal["incumbent", "candidate"]] = {}
        if now.candidate is not None:
            roles[now.candidate.model.version] = "candidate"
        roles[now.incumbent.model.version] = "incumbent"
        for model in found.values():
            role = roles.get(model.version)
            state = now.channel.state if role == "candidate" and now.channel is not None else None
            shown.append(
                ModelShown(
                    version=model.version,
                    name=model.name,
                    role=role,
                    state=state,
                    added=model.added,
                    features=list(model.features),
                    actions=list(model.actions),
                    scores=model.scores,
                )
            )
        return Models(models=shown, stages=dict(now.stages))

    @app.get("/v1/summary", operation_id="summary", summary="How it goes")
    async def summary() -> dict[str, Any]:
        """What the page shows: agreement, accuracy, latency, gain, drift, the rollout's steps."""
        now, found = service.now, await service.summary()
        seats = {"incumbent": now.incumbent, "candidate": now.candidate}
        names = {
            role: seat and {"name": seat.model.name, "version": seat.model.version}
            for role, seat in seats.items()
        }
        state = now.channel.state if now.channel is not None else None
        return found | names | {"state": state, "stages": dict(now.stages), "now": service.store.clock()}

    @app.get("/healthz", operation_id="health", summary="Does it live?")
    async def health() -> Health:
        """Always, if it answers."""
        return Health(status="alive")

    @app.get("/readyz", operation_id="ready", summary="Is it ready?", responses={503: {"model": Health}})
    async def ready(response: Response) -> Health:
        """Unless the store cannot be written; decisions are answered even then."""
        if service.trouble:
            response.status_code = 503
        return Health(status=service.trouble or "ready")

    @app.get("/metrics", operation_id="metrics", summary="For Prometheus", response_class=Response)
    async def metrics() -> Response:
        """In the text format."""
        return Response(await service.scrape(), media_type=CONTENT_TYPE)


def _add_page(app: FastAPI, path: str, file: Path, kind: str) -> None:
    content = file.read_bytes()

    async def page() -> Response:
        return Response(content, media_type=kind)

    app.get(path, include_in_schema=False)(page)


async def _answer(service: Service, body: Question | Questions) -> Answer | Answers:
    if isinstance(body, Questions):
        return Answers.model_construct(decisions=[await _decide(service, one) for one in body.decisions])
    return await _decide(service, body)


async def _decide(service: Service, one: Question) -> Answer:
    told = (one.networkState, one.dataChars, one.systemState, one.historical)
    features = features_of(*told) | one.features if any(told) else one.features
    region = one.region or (one.networkState and one.networkState.region) or "default"
    decided = await service.decide(Asking(features, region, one.key, one.allowed))
    return Answer.model_construct(
        id=decided.id,
        choice=decided.action,
        confidence=decided.confidence,
        probabilities=decided.probabilities,
        latencyMs=decided.latency_ms,
        model=decided.model,
        answeredBy=decided.arm,
    )


def _outcome(one: Feedback, now: float) -> Outcome:
    return Outcome(one.id, now, one.costS, one.best, one.costs)


async def _refuse_shape(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": problem(error.errors())}, 422)


async def _refuse_question(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


async def _refuse_for_now(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the store cannot be written; try again"}, 503, {"retry-after": "5"})
