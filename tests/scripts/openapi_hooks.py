"""Hooks of schemathesis for tests/scripts/openapi.sh."""

import re

import schemathesis
from hypothesis import strategies

# Without a known format schemathesis fills in only headers whose pattern consists of letters and digits.
TAG = strategies.from_regex(r'\A(W/)?"[!#-~]{0,40}"\Z')
TAG_LIST = strategies.lists(TAG, min_size=1, max_size=3).map(", ".join)
schemathesis.openapi.format("entity-tags", strategies.just("*") | TAG_LIST)


@schemathesis.deserializer("text/plain")
def text(context, response):
    """Has the schemas of plain texts checked too."""
    return response.content.decode()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Corrects in valid requests what the schemas of the document cannot express."""
    query = case.query or {}
    wait = query.get("wait")
    pattern = case.operation.schema.raw_schema["components"]["parameters"]["wait"]["schema"]["pattern"]
    if isinstance(wait, str) and re.search(pattern, wait):
        # With waits of up to a minute the test would take hours.
        query["wait"] = "20ms"
    if not case.meta.generation.mode.is_positive:
        return
    keys = query.get("k")
    if isinstance(keys, list) and len(keys) > 1:
        # A request for several keys must not have these.
        if case.method != "DELETE":
            query.pop("wait", None)
        for name in "If-Match", "If-None-Match":
            case.headers.pop(name, None)
    if case.method in ("PUT", "POST", "DELETE") and "replicas" not in query:
        # A write may have `wait` only together with `replicas`.
        query.pop("wait", None)
