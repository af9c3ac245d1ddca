"""The OpenAPI 3.1 document, made from the models whose JSON is sent."""

from __future__ import annotations

from typing import Any, get_args

from pydantic.json_schema import models_json_schema

from moase_edge.runtime.web.answers import Action, Asked, Done, Fault, Health, Results, Status
from moase_edge.runtime.web.status import QUIET_S
from moase_edge.version import __version__

ACTIONS: tuple[Action, ...] = get_args(Action)
_REFERENCE = "#/components/schemas/{model}"
_JSON = "application/json"
_CODES = {
    200: "as asked",
    204: "nothing new",
    401: "the token is missing or wrong",
    403: "from another web site",
    404: "no such button",
    409: "cannot be done now",
    413: "too long",
    421: "under a name that is not this server's",
    422: "not understood",
    500: "failed",
    503: "not now",
    504: "not done in time",
}


def document(*, needs_token: bool) -> dict[str, Any]:
    """All that can be asked, whoever asks.

    Args:
        needs_token: whether requests must carry one.
    """
    models = [(model, "serialization") for model in (Status, Results, Health, Done, Fault, Asked)]
    _, schemas = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
    components: dict[str, Any] = {"schemas": schemas["$defs"]}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "moase-edge",
            "version": __version__,
            "description": "A run that goes on: what it sees, answers and learns, and its buttons.",
        },
        "paths": _paths(),
        "components": components,
    }
    if needs_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"token": []}]
    return described


def _paths() -> dict[str, Any]:
    return {
        "/api/v1/status": _get("How the run stands.", {200: _model("Status")}),
        "/api/v1/results": _get(
            "Answers and timings of the latest batches, oldest first.",
            {200: _model("Results"), 422: _model("Fault")},
            [
                _query("after", "only batches after this number", 0),
                _query("most", "so many at most; 600 are kept", 300),
            ],
        ),
        "/api/v1/picture": _get(
            "The newest picture, at most ten a second. Header X-Picture is its number, X-Answer the answer to it.",
            {200: _content("image/jpeg"), 204: {"description": "no newer one came within 5 s"}},
            [_query("after", "wait for a picture of another number than this", 0)],
        ),
        "/stream.mjpg": _get(
            "The picture stream, for programs that read cameras.",
            {200: _content("multipart/x-mixed-replace"), 503: _model("Fault")},
        ),
        "/metrics": _get("Figures for Prometheus.", {200: _content("text/plain")}),
        "/healthz": _open(
            _get(
                "Whether answers come; needs no token.",
                {200: _model("Health"), 503: _model("Health"), 422: _model("Fault")},
                [_query("within_s", "seconds without an answer that are healthy", QUIET_S)],
            )
        ),
        "/api/v1/controls/{action}": {"post": _control()},
    }


def _get(summary: str, answers: dict[int, Any], parameters: list[Any] | None = None) -> dict[str, Any]:
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": _responses(answers)}}


def _open(described: dict[str, Any]) -> dict[str, Any]:
    """The same, without the token."""
    return {"get": {**described["get"], "security": []}}


def _control() -> dict[str, Any]:
    codes = {200: "Done", 404: "Fault", 409: "Fault", 413: "Fault", 422: "Fault", 500: "Fault", 504: "Fault"}
    named = {"name": "action", "in": "path", "required": True, "schema": {"type": "string", "enum": list(ACTIONS)}}
    return {
        "summary": "Press a button: done between two frames, answered once it is.",
        "parameters": [named],
        "requestBody": {"required": False, **_model("Asked")},
        "responses": _responses({code: _model(name) for code, name in codes.items()}),
    }


def _responses(answers: dict[int, Any]) -> dict[str, Any]:
    """Beside these, every path may refuse a request for where it comes from, or for want of the token."""
    all_answers = {**{code: _model("Fault") for code in (401, 403, 421)}, **answers}
    return {str(code): {"description": _CODES[code], **answer} for code, answer in sorted(all_answers.items())}


def _query(name: str, text: str, default: float) -> dict[str, Any]:
    schema = {"type": "number", "minimum": 0, "default": default}
    return {"name": name, "in": "query", "description": text, "required": False, "schema": schema}


def _model(name: str) -> dict[str, Any]:
    return {"content": {_JSON: {"schema": {"$ref": _REFERENCE.format(model=name)}}}}


def _content(media_type: str) -> dict[str, Any]:
    return {"content": {media_type: {}}}
