"""Steers schemathesis where a schema cannot: shorter waits, and requests that reach what lies behind the first check."""

import re

import schemathesis

MADE = {"lnk": [], "con": []}
HOSTS = {"netlify": "netlify.com", "github": "github.com", "gitlab": "gitlab.com", "bitbucket": "bitbucket.org"}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Long polls are asked for as generated, but not for as long: a valid wait becomes at most one second."""
    wait = (case.query or {}).get("wait")
    if isinstance(wait, int) and 1 < wait <= 30:
        case.query["wait"] = 1


@schemathesis.hook
def after_call(context, case, response):
    """Remembers what was made, for map_path_parameters."""
    made = case.operation.definition.raw["operationId"] in ("createLink", "createConnection")
    if made and response.status_code in (201, 202):
        name = response.json()["id"]
        MADE[name[:3]].append(name)


@schemathesis.hook
def map_path_parameters(context, parameters):
    """No generator finds an id that exists: every other good one becomes that of the link or connection made last."""
    good = re.fullmatch("(lnk|con)_[0-9a-f]{31}[02468ace]", str((parameters or {}).get("id")))
    if good and MADE[good[1]]:
        return {**parameters, "id": MADE[good[1]][-1]}
    return parameters


@schemathesis.hook
def map_query(context, query):
    """No generator finds a cursor; every other one is left out, so that there is a page."""
    if query and is_odd(query.get("cursor")):
        return {name: value for name, value in query.items() if name != "cursor"}
    return query


@schemathesis.hook
def map_headers(context, headers):
    """The same for the cursor that browsers send."""
    if headers and is_odd(headers.get("Last-Event-ID")):
        return {name: value for name, value in headers.items() if name != "Last-Event-ID"}
    return headers


@schemathesis.hook
def map_body(context, body):
    """No generator finds a repository's address or a configured host: texts become good ones, but for addresses of even
    length, which stay as they are."""
    if not isinstance(body, dict):
        return body
    operation = context.operation.definition.raw["operationId"]
    if operation == "createLink" and is_odd(body.get("repository")):
        return {**body, "repository": "https://github.com/acme/docs"}
    if operation == "createConnection" and isinstance(body.get("host"), str) and body.get("kind") in HOSTS:
        return {**body, "host": HOSTS[body["kind"]]}
    return body


def is_odd(text):
    return isinstance(text, str) and len(text) % 2 == 1
