#!/usr/bin/env python3
"""Cuts the vendors' API descriptions down to what the sandbox answers: `cut.py FOLDER` rewrites the JSON files here.

FOLDER holds the documents that SOURCES.md names. Every correction is made here, in one place, with its reason; SOURCES.md
lists them for readers. Needs PyYAML.
"""
import copy
import json
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).parent
METHODS = ("get", "post", "put", "patch", "delete")
DROPPED = {"description", "summary", "tags", "examples", "example", "externalDocs", "x-github", "x-controller", "x-action",
           "style", "explode", "deprecated", "xml", "discriminator", "title"}

NETLIFY = {
    "/user": "get", "/accounts": "get", "/accounts/{account_id}": "get",
    "/accounts/{account_id}/builds/status": "get",
    "/accounts/{account_id}/env": "get post", "/accounts/{account_id}/env/{env_key}": "get put delete",
    "/deploy_keys": "get post", "/deploy_keys/{key_id}": "get delete",
    "/sites": "get post", "/{account_slug}/sites": "get post", "/sites/{site_id}": "get patch delete",
    "/sites/{id}/unlink_repo": "put", "/sites/{site_id}/metadata": "get put",
    "/sites/{site_id}/builds": "get post", "/builds/{build_id}": "get",
    "/sites/{site_id}/deploys": "get", "/sites/{site_id}/deploys/{deploy_id}": "get",
    "/deploys/{deploy_id}": "get delete", "/deploys/{deploy_id}/cancel": "post",
    "/deploys/{deploy_id}/lock": "post", "/deploys/{deploy_id}/unlock": "post",
    "/hooks": "get post", "/hooks/types": "get", "/hooks/{hook_id}": "get put delete",
    "/hooks/{hook_id}/enable": "post",
}
# What clients of the vendor send although no description has it; seen in the vendor's own CLI or in working field reports.
NEVER_NULL = {"id", "site_id", "build_id", "public_key", "state", "created_at"}
REPO_WRITE = {"repo": {"type": "string"}, "id": {"type": ["integer", "string"]}, "repo_id": {"type": ["integer", "string"]},
              "private": {"type": "boolean"}}
SITE_WRITE = {"repo": {"$ref": "#/components/schemas/RepoWrite"}, "plugins": {"type": "array"},
              "default_hooks_data": {"type": "object"}, "env": {"type": "object"}, "created_via": {"type": "string"},
              "session_id": {"type": "string"}}

GITLAB_USER_KEYS = {
    "operationId": "getApiV4UserKeys",
    "parameters": [{"in": "query", "name": name, "required": False, "schema": {"type": "integer"}}
                   for name in ("page", "per_page")],
    "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {
        "type": "array", "items": {"type": "object", "required": ["id", "title", "key", "created_at"], "properties": {
            "id": {"type": "integer"}, "title": {"type": "string"}, "key": {"type": "string"},
            "usage_type": {"type": "string"}, "created_at": {"type": "string", "format": "date-time"},
            "expires_at": {"type": "string", "format": "date-time", "nullable": True}}}}}}}},
}


def main(folder):
    write("netlify.json", netlify(folder))
    write("github.json", github(folder))
    write("gitlab.json", gitlab(folder))
    write("bitbucket.json", bitbucket(folder))
    write("azure_devops.json", azure_devops(folder))


def netlify(folder):
    rich = yaml.safe_load((folder / "netlify.openapi.yaml").read_text())
    old = yaml.safe_load((folder / "netlify.swagger.yml").read_text())
    paths, schemas = {}, copy.deepcopy(rich["components"]["schemas"])
    for path, methods in NETLIFY.items():
        for method in methods.split():
            # One operation of the source lacks the prefix.
            source = rich["paths"].get("/api/v1" + path, {}).get(method) or rich["paths"][path][method]
            paths.setdefault(path, {})[method] = copy.deepcopy(source)
    paths, schemas = clean(paths), closure(clean(paths), clean(schemas))
    # The source marks nothing as nullable; captured answers have null in most fields until they mean something.
    for schema in schemas.values():
        for name, value in schema.get("properties", {}).items():
            if name not in NEVER_NULL:
                schema["properties"][name] = nullable(value)
    correct_netlify(paths, schemas)
    for path, methods in paths.items():
        for method, operation in methods.items():
            add_older_queries(operation, old["paths"].get(path, {}), method, old)
    schemas = closure(paths, schemas)
    return {"openapi": "3.1.0", "info": {"title": "Netlify API, extract", "version": rich["info"]["version"]},
            "servers": [{"url": "https://api.netlify.com/api/v1"}], "paths": paths,
            "components": {"schemas": schemas}}


def add_older_queries(operation, older, method, old):
    """The older description knows query parameters (pages, mostly) that the richer one forgot."""
    known = {p["name"] for p in operation.setdefault("parameters", [])}
    for parameter in older.get("parameters", []) + older.get(method, {}).get("parameters", []):
        if "$ref" in parameter:
            parameter = old["parameters"][parameter["$ref"].rsplit("/", 1)[1]]
        if parameter["in"] == "query" and parameter["name"] not in known:
            schema = {"type": parameter["type"]}
            operation["parameters"].append({"name": parameter["name"], "in": "query", "schema": schema})


def correct_netlify(paths, schemas):
    # Writing: the source reuses the answer's schema, with all its required fields and without `repo`. Unknown fields are
    # refused here, so that a misspelt one is found.
    repo, site = copy.deepcopy(schemas["Repo"]), copy.deepcopy(schemas["Site"])
    schemas["RepoWrite"] = {"type": "object", "additionalProperties": False, "properties": repo["properties"] | REPO_WRITE}
    site["properties"]["build_settings"] = {"$ref": "#/components/schemas/RepoWrite"}
    schemas["SiteWrite"] = {"type": "object", "additionalProperties": False, "properties": site["properties"] | SITE_WRITE}
    for path, method in (("/sites", "post"), ("/{account_slug}/sites", "post"), ("/sites/{site_id}", "patch")):
        paths[path][method]["requestBody"] = body("SiteWrite")
    # Here too: a variable to be made has no `updated_at` and `updated_by`. The vendor's CLI names it in the body of PUT as well.
    shown = schemas["EnvVar"]["properties"]
    written = {name: shown[name] for name in ("key", "scopes", "values", "is_secret")}
    schemas["EnvVarWrite"] = {"type": "object", "additionalProperties": False, "required": ["key", "values"],
                              "properties": written}
    variables = paths["/accounts/{account_id}/env"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    variables["items"] = {"$ref": "#/components/schemas/EnvVarWrite"}
    schemas["updateEnvVar_request"] = {"type": "object", "additionalProperties": False, "required": ["values", "is_secret"],
                                       "properties": written}
    # PUT works like PATCH (field reports), the log is what the vendor's CLI reads; neither is described.
    paths["/sites/{site_id}"]["put"] = paths["/sites/{site_id}"]["patch"] | {
        "operationId": "putSite", "x-undocumented": True}
    paths["/deploys/{deploy_id}/log"] = {"get": {
        "operationId": "getDeployLog", "x-undocumented": True, "parameters": [path_parameter("deploy_id")],
        "responses": {"200": {"description": "", "content": {"application/json": {"schema": {"type": "array"}}}}}}}
    # Only the older description has it.
    paths["/{account_id}/builds/status"] = {"get": {
        "operationId": "getAccountBuildCounts", "parameters": [path_parameter("account_id")],
        "responses": {"200": {"description": "", "content": {"application/json": {"schema": {"type": "array"}}}}}}}
    # `site_id` may stand in the query instead of the body (older description and field reports).
    query = {"name": "site_id", "in": "query", "schema": {"type": "string"}}
    paths["/hooks"]["post"].setdefault("parameters", []).append(query)
    schemas["CreateOutgoingHook"]["additionalProperties"] = False
    schemas["UpdateOutgoingHook"]["additionalProperties"] = False
    # The team may be named in the query (the vendor's MCP server does).
    paths["/sites"]["post"]["parameters"].append({"name": "account_slug", "in": "query", "schema": {"type": "string"}})
    # Both descriptions' status codes are seen: 200 here, 201 there; metadata answers 204 in the older one.
    for path, method, other in (("/deploys/{deploy_id}/cancel", "post", "201"), ("/sites/{site_id}/metadata", "put", "204")):
        answers = paths[path][method]["responses"]
        answers[other] = answers["200"] if other == "201" else {"description": ""}
    # A build that has no deploy yet says so with an empty state; `processed` is in the older description's filter.
    states = schemas["Build"]["properties"]["deploy_state"]
    states["enum"] = states["enum"] + ["", "processed"]
    # Unlinked sites have an empty object here, not null, and `capabilities` maps names to anything.
    schemas["Site"]["properties"]["build_settings"] = {"$ref": "#/components/schemas/Repo"}


def github(folder):
    source = json.loads((folder / "github.openapi.json").read_text())
    paths = resolve_parts(source["paths"], source["components"])
    paths, schemas = clean(paths), clean(source["components"]["schemas"])
    # What repositories have is also reachable by id: the target of the vendor's redirects after a rename.
    for path in list(paths):
        if path.startswith("/repos/{owner}/{repo}"):
            twin = copy.deepcopy(paths[path])
            for operation in twin.values():
                operation["x-undocumented"] = True
                operation["operationId"] += "-by-id"
                operation["parameters"] = [path_parameter("repository_id")] + [
                    p for p in operation.get("parameters", []) if p["name"] not in ("owner", "repo")]
            paths[path.replace("/repos/{owner}/{repo}", "/repositories/{repository_id}")] = twin
    schemas = closure(paths, schemas)
    return {"openapi": "3.1.0", "info": {"title": "GitHub REST API, extract", "version": source["info"]["version"]},
            "servers": [{"url": "https://api.github.com"}], "paths": to_31(paths),
            "components": {"schemas": to_31(schemas)}}


def gitlab(folder):
    source = yaml.safe_load((folder / "gitlab.openapi.yaml").read_text())
    # The base address of a client ends in /api/v4.
    paths = {path.removeprefix("/api/v4"): item for path, item in clean(source["paths"]).items()}
    schemas = clean(source["components"]["schemas"])
    # Recorded answers have booleans where the description says string.
    for name in ("bot", "external"):
        schemas["APIEntitiesUserPublic"]["properties"][name] = {"type": "boolean", "nullable": True}
    # Missing in the extract that is cut here: https://docs.gitlab.com/api/user_keys/#list-all-your-ssh-keys
    paths["/user/keys"] = {"get": GITLAB_USER_KEYS}
    return extract("GitLab REST API, extract", source, "https://gitlab.com/api/v4", paths, schemas)


def bitbucket(folder):
    source, paths, schemas = from_swagger(folder / "bitbucket.swagger.json")
    # The description has no body for what is written here; these are the fields that its pages and clients name.
    key = {"type": "object", "additionalProperties": False, "required": ["key"],
           "properties": {"key": {"type": "string"}, "label": {"type": "string"}}}
    hook = {"type": "object", "additionalProperties": False, "required": ["url", "events"], "properties": {
        name: schemas["webhook_subscription"]["allOf"][1]["properties"][name]
        for name in ("active", "description", "events", "secret", "url")} | {
        "skip_cert_verification": {"type": "boolean"}, "history_enabled": {"type": "boolean"}}}
    schemas |= {"KeyWrite": key, "HookWrite": hook}
    repository = "/repositories/{workspace}/{repo_slug}"
    for path, schema in (("/deploy-keys", "KeyWrite"), ("/hooks", "HookWrite")):
        paths[repository + path]["post"]["requestBody"] = body(schema)
    paths[repository + "/deploy-keys/{key_id}"]["put"]["requestBody"] = body("KeyWrite")
    paths[repository + "/hooks/{uid}"]["put"]["requestBody"] = body("HookWrite")
    # Pages are described in prose only.
    for item in paths.values():
        for name in ("page", "pagelen"):
            item.get("get", {"parameters": []})["parameters"].append(
                {"name": name, "in": "query", "schema": {"type": "integer"}})
    # Branches may contain slashes: the name by which the check knows such a variable.
    branch = paths.pop(repository + "/refs/branches/{name}")
    paths[repository + "/refs/branches/{branch}"] = branch
    # A key that was never used; and errors explain missing scopes with an object.
    unused = schemas["deploy_key"]["allOf"][1]["properties"]
    unused["last_used"] = unused["last_used"] | {"nullable": True}
    schemas["error"]["properties"]["error"]["properties"]["detail"] = {}
    return extract("Bitbucket Cloud REST API, extract", source, "https://api.bitbucket.org/2.0", paths, schemas)


# What the vendor's own pages and public tools call although nothing describes it.
AZURE_UNDESCRIBED = {
    "/{organization}/_apis/connectionData": "get", "/_apis/profile/profiles/me": "get",
    "/{organization}/_apis/Token/SessionTokens": "get", "/{organization}/_apis/Token/SessionTokens/{authorizationId}": "delete",
    "/{organization}/_apis/Contribution/HierarchyQuery": "post",
}


def azure_devops(folder):
    paths, schemas = {}, {}
    for part in ("git", "hooks", "core"):
        source, more_paths, more_schemas = from_swagger(folder / f"azure-devops.{part}.swagger.json")
        paths, schemas = paths | more_paths, more_schemas | schemas
    # Repositories are found by their GUID without their project too.
    git = "/_apis/git/repositories/{repositoryId}"
    for tail in ("", "/refs"):
        twin = copy.deepcopy(paths["/{organization}/{project}" + git + tail])
        paths["/{organization}" + git + tail] = twin
    for item in paths.values():
        for method, operation in item.items():
            correct_azure(method, operation)
    for path, method in AZURE_UNDESCRIBED.items():
        paths[path] = {method: {"operationId": path, "x-undocumented": True, "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string"}}
            for name in ("api-version", "isPublic", "includePublicData")],
            "responses": {"200": {"description": ""}, "203": {"description": ""}, "204": {"description": ""}}}}
    query = paths["/{organization}/_apis/Contribution/HierarchyQuery"]["post"]
    query["requestBody"] = {"required": True, "content": {"application/json": {"schema": {
        "type": "object", "required": ["contributionIds", "dataProviderContext"]}}}}
    return extract("Azure DevOps Services REST API, extract", source, "https://dev.azure.com", paths, schemas)


def correct_azure(method, operation):
    # Lists come with their length.
    for answer in operation["responses"].values():
        media = answer.get("content", {}).get("application/json", {})
        if media.get("schema", {}).get("type") == "array":
            media["schema"] = {"type": "object", "required": ["count", "value"], "properties": {
                "count": {"type": "integer"}, "value": media["schema"]}}
    # A page to sign in, and 204 after removals: neither is described.
    operation["responses"]["203"] = {"description": ""}
    if method == "delete":
        operation["responses"]["204"] = {"description": ""}


def from_swagger(file):
    """A document of Swagger 2.0 as OpenAPI 3.0: the document, its paths and its schemas."""
    source = json.loads(file.read_text().replace("#/definitions/", "#/components/schemas/").replace("x-nullable", "nullable"))
    paths = {}
    for path, item in source["paths"].items():
        shared = item.pop("parameters", [])
        paths[path] = {method: from_swagger_operation(operation, shared, source) for method, operation in item.items()}
    return source, clean(paths), clean(source["definitions"])


def from_swagger_operation(operation, shared, source):
    parameters = [source["parameters"][p["$ref"].rsplit("/", 1)[1]] if "$ref" in p else p
                  for p in shared + operation.get("parameters", [])]
    described = {"operationId": operation.get("operationId", ""), "responses": {}, "parameters": [
        {"name": p["name"], "in": p["in"], "required": p.get("required", False), "schema": {"type": p.get("type", "string")}}
        for p in parameters if p["in"] in ("path", "query")]}
    for parameter in parameters:
        if parameter["in"] == "body":
            described["requestBody"] = {"required": parameter.get("required", False),
                                        "content": {"application/json": {"schema": parameter["schema"]}}}
    for status, answer in operation["responses"].items():
        described["responses"][status] = {"description": ""}
        if "schema" in answer:
            described["responses"][status]["content"] = {"application/json": {"schema": answer["schema"]}}
    return described


def extract(title, source, server, paths, schemas):
    """A document of OpenAPI 3.1 out of parts of one of 3.0."""
    return {"openapi": "3.1.0", "info": {"title": title, "version": str(source["info"]["version"])},
            "servers": [{"url": server}], "paths": to_31(paths),
            "components": {"schemas": to_31(closure(paths, schemas))}}


def resolve_parts(node, components):
    """Inlines references to parameters, responses and headers; references to schemas stay."""
    if isinstance(node, list):
        return [resolve_parts(item, components) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref", "")
    if reference.startswith("#/components/") and "/schemas/" not in reference:
        kind, name = reference.split("/")[2:]
        return resolve_parts(components[kind][name], components)
    return {key: resolve_parts(value, components) for key, value in node.items()}


def to_31(node):
    """`nullable: true` of OpenAPI 3.0 becomes a type of JSON Schema."""
    if isinstance(node, list):
        return [to_31(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: to_31(value) for key, value in node.items()}
    if node.pop("nullable", False) is True:
        return nullable(node)
    return node


def nullable(schema):
    schema = dict(schema)
    if schema.get("enum") and None not in schema["enum"]:
        schema["enum"] = schema["enum"] + [None]
    if isinstance(schema.get("type"), str):
        return schema | {"type": [schema["type"], "null"]}
    if "$ref" in schema or "allOf" in schema or "anyOf" in schema or "oneOf" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


def clean(node, named=False):
    """Drops prose and examples; `named` is true where keys are names of properties or paths."""
    if isinstance(node, list):
        return [clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if named or key not in DROPPED or (key == "description" and "content" in node):
            kept[key] = clean(value, key in ("properties", "responses"))
    if kept.get("default", 0) is None:
        del kept["default"]
    for answer in kept.get("responses", {}).values():
        answer.setdefault("description", "")
    return kept


def closure(paths, schemas):
    """The schemas that the paths reach."""
    reached, todo = {}, references(paths)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached[name] = schemas[name]
            todo |= references(schemas[name])
    return dict(sorted(reached.items()))


def references(node):
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    found = set().union(*map(references, node.values()))
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/components/schemas/"):
        found.add(reference.rsplit("/", 1)[1])
    return found


def body(name):
    return {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/" + name}}}}


def path_parameter(name):
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def write(name, document):
    (HERE / name).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
