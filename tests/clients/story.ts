// A link's life told by a generated TypeScript client: made, polled, live, unlinked.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Link = components["schemas"]["Link"];

const setting = (name: string): string => process.env[name] ?? assert.fail(`${name} is not set`);
const sandbox = setting("LINKBROKER_SANDBOX");
const name = "typescript";
const api = createClient<paths>({
  baseUrl: setting("LINKBROKER_URL"),
  headers: { authorization: `Bearer ${setting("LINKBROKER_TOKEN")}` },
});

/** What was answered; a problem ends the story. */
function good<T>({ data, error, response }: { data?: T; error?: components["schemas"]["Problem"]; response: Response }): T {
  assert.ok(data !== undefined, `${response.status} ${error?.code}: ${error?.detail ?? error?.title}`);
  return data;
}

async function connect(kind: "netlify" | "github"): Promise<components["schemas"]["Connection"]> {
  const credential = { type: "token", token: `sandbox-${kind}-token` } as const;
  return good(await api.POST("/connections", { body: { name: `${name}-${kind}`, kind, credential } }));
}

async function settled(id: string): Promise<Link> {
  for (const deadline = Date.now() + 60_000; ; ) {
    const link = good(await api.GET("/links/{id}", { params: { path: { id } } }));
    if (link.poll_after_ms == null) return link;
    assert.ok(Date.now() < deadline, `still ${link.status}`);
    await pause(link.poll_after_ms);
  }
}

const repository = { owner: "acme", name, template: "site", text: `Hello ${name}` };
const made = await fetch(`${sandbox}/__sandbox/repositories`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(repository),
});
assert.ok(made.ok, `the sandbox answered ${made.status}`);

const netlify = await connect("netlify");
const github = await connect("github");
const request: components["schemas"]["LinkRequest"] = {
  repository: `https://github.com/acme/${name}`,
  site: { name: `acme-${name}` },
  build: { command: "sh build.sh", publish: "dist" },
  connections: { netlify: netlify.name, provider: github.name },
  ref: `clients/${name}`,
  labels: { client: name },
};
const accepted = await api.POST("/links", { body: request });
const link = good(accepted);
assert.equal(accepted.response.status, 202);
assert.ok("id" in link, "a link, not a plan");
const { id } = link;
assert.equal(accepted.response.headers.get("location"), `/links/${id}`);

const live = await settled(id);
assert.equal(live.status, "live", JSON.stringify(live.diagnosis));
assert.equal(live.labels.client, name);
assert.ok(live.steps.every((step) => step.state === "done" || step.state === "skipped"));
assert.match(await (await fetch(`${sandbox}/sites/acme-${name}/`)).text(), new RegExp(`Hello ${name}`));
const page = good(await api.GET("/links", { params: { query: { ref: `clients/${name}`, limit: 1 } } }));
assert.deepEqual(page.links.map((link) => link.id), [id]);
const told = good(await api.GET("/links/{id}/events", { params: { path: { id } } }));
assert.ok(typeof told === "object", "a page, not the stream");
assert.equal(told.events[0]?.type, "link.accepted");

const twice = await api.POST("/links", { body: request });
assert.equal(twice.error?.code, "link_exists");

good(await api.DELETE("/links/{id}", { params: { path: { id } } }));
const gone = await settled(id);
assert.equal(gone.status, "unlinked");
assert.ok(gone.resources.every((resource) => resource.receipt != null));
for (const connection of [netlify, github]) {
  const { response } = await api.DELETE("/connections/{id}", { params: { path: { id: connection.id } } });
  assert.equal(response.status, 204);
}
console.log("TypeScript: created, polled, live, unlinked");
