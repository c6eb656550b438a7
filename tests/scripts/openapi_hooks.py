"""What schemathesis has to be told for tests/scripts/openapi.sh."""

import re

import schemathesis
from hypothesis import strategies

# It fills in a header whose pattern has more than letters and digits only if the format is known.
TAG = strategies.from_regex(r'\A(W/)?"[!#-~]{0,40}"\Z')
TAGS = strategies.lists(TAG, min_size=1, max_size=3).map(", ".join)
schemathesis.openapi.format("entity-tags", strategies.just("*") | TAGS)



@schemathesis.deserializer("text/plain")
def text(context, response):
    """Without it the schemas of texts are left alone."""
    return response.content.decode()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Puts right what the document's schemas cannot say, in requests that are meant to be good."""
    query = case.query or {}
    wait = query.get("wait")
    pattern = case.operation.schema.raw_schema["components"]["parameters"]["wait"]["schema"]["pattern"]
    if isinstance(wait, str) and re.search(pattern, wait):
        # With up to a minute each the test would take hours.
        query["wait"] = "20ms"
    if not case.meta.generation.mode.is_positive:
        return
    keys = query.get("k")
    if isinstance(keys, list) and len(keys) > 1:
        # Of several keys these are refused.
        if case.method != "DELETE":
            query.pop("wait", None)
        for name in "If-Match", "If-None-Match":
            case.headers.pop(name, None)
    if case.method in ("PUT", "POST", "DELETE") and "replicas" not in query:
        # It goes with that only.
        query.pop("wait", None)
