// An issuer that others wrote, oidc-provider, and a server that trusts it: its tokens are accepted under RS256, ES256 and
// EdDSA, through an outage and a rotation of its keys. Run: node oidc.mjs PATH-OF-LINKBROKER

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";

const ALGORITHMS = ["RS256", "ES256", "EdDSA"];
const AUDIENCE = "linkbroker";
/** The server asks for unknown keys at most this often (RETRY_PAUSE in src/api/caller/keys.rs), in milliseconds. */
const REFETCH_PAUSE = 30_000;
const client = { client_id: "portal", client_secret: randomUUID() };

/** A new key for each algorithm. */
async function makeKeys() {
  const pairs = ALGORITHMS.map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: randomUUID() };
  });
  return Promise.all(pairs);
}

/** An OIDC issuer whose keys can be changed and that can be away. */
class Issuer {
  #http = createServer((request, response) => this.#answer(request, response));
  #port = 0;
  asked = 0;

  async start(keys) {
    this.#http.listen(this.#port, "127.0.0.1");
    await once(this.#http, "listening");
    this.#port = this.#http.address().port;
    this.rotate(keys);
  }

  get address() {
    return `http://127.0.0.1:${this.#port}`;
  }

  rotate(keys) {
    // A resource names the algorithm, so that one client gets tokens of all kinds.
    const resource = (_, name) => ({
      audience: AUDIENCE,
      scope: "links:read",
      accessTokenFormat: "jwt",
      jwt: { sign: { alg: name.split(":").at(-1) } },
    });
    this.provider = new Provider(this.address, {
      jwks: { keys },
      clients: [{ ...client, grant_types: ["client_credentials"], redirect_uris: [], response_types: [] }],
      scopes: ["links:read"],
      extraTokenClaims: () => ({ tenant: "acme" }),
      ttl: { ClientCredentials: 600 },
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: { enabled: true, getResourceServerInfo: resource },
      },
    });
  }

  /** A token of each algorithm, signed with the present keys. */
  async tokens() {
    return Promise.all(ALGORITHMS.map((algorithm) => this.#token(algorithm)));
  }

  async #token(algorithm) {
    const form = { grant_type: "client_credentials", scope: "links:read", resource: `urn:linkbroker:${algorithm}` };
    const answer = await fetch(`${this.address}/token`, {
      method: "POST",
      body: new URLSearchParams({ ...form, ...client }),
    });
    const body = await answer.json();
    assert.ok(answer.ok, JSON.stringify(body));
    const [header] = body.access_token.split(".");
    assert.equal(JSON.parse(Buffer.from(header, "base64url")).alg, algorithm);
    return body.access_token;
  }

  async stop() {
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, "close");
  }

  #answer(request, response) {
    if (request.url.startsWith("/jwks")) this.asked += 1;
    return this.provider.callback()(request, response);
  }
}

/** A linkbroker that trusts the issuer, with a Postgres of its own; `end` ends it. */
async function serve(program, issuer, folder) {
  const issuers = join(folder, "issuers.toml");
  await writeFile(issuers, `[[issuer]]\nissuer = "${issuer.address}"\naudience = "${AUDIENCE}"\n`);
  const settings = {
    LINKBROKER_ISSUERS: issuers,
    LINKBROKER_KEYRING: `test:${randomBytes(32).toString("base64")}`,
    LINKBROKER_DATA_DIR: join(folder, "data"),
    LINKBROKER_LISTEN: "127.0.0.1:0",
    LINKBROKER_LOG_FORMAT: "json",
  };
  const inherited = Object.entries(process.env).filter(([name]) => !/^(LINKBROKER_(?!PG_BIN)|DATABASE_URL)/.test(name));
  const child = spawn(program, ["serve"], {
    env: { ...Object.fromEntries(inherited), ...settings },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = once(child, "exit");
  let log = "";
  const address = new Promise((found, failed) => {
    const read = (text) => {
      log += text;
      const listening = log.match(/"listening","address":"([^"]+)"/);
      if (listening) found(`http://${listening[1]}`);
    };
    child.stdout.setEncoding("utf8").on("data", read);
    child.stderr.setEncoding("utf8").on("data", read);
    ended.then(() => failed(new Error(`the server ended:\n${log}`)), failed);
  });
  const end = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  const late = pause(60_000, undefined, { ref: false }).then(() => assert.fail(`the server did not start:\n${log}`));
  return { address: await Promise.race([address, late]), end };
}

async function story(server, issuer, keys) {
  const status = async (token) => {
    const answer = await fetch(`${server.address}/links`, { headers: { authorization: `Bearer ${token}` } });
    await answer.arrayBuffer();
    return answer.status;
  };
  const statuses = (tokens) => Promise.all(tokens.map(status));
  const say = (text) => console.log(`OIDC: ${text}`);

  const old = await issuer.tokens();
  assert.deepEqual(await statuses(old), [200, 200, 200]);
  assert.equal(issuer.asked, 1, "three tokens at once need one look at the keys");
  const fetched = Date.now();
  say(`${ALGORITHMS.join(", ")} accepted, keys fetched once`);

  // Rotated: new keys sign; the old ES256 and EdDSA keys stay for a while, the old RS256 key is withdrawn.
  const fresh = await makeKeys();
  issuer.rotate([...fresh, ...keys.filter((key) => key.alg !== "RS256")]);
  const tokens = await issuer.tokens();
  await issuer.stop();
  assert.deepEqual(await statuses(old), [200, 200, 200], "known keys go on");
  assert.deepEqual(await statuses(tokens), [401, 401, 401], "unknown keys are refused, not waited for");
  say("issuer away: known keys go on, unknown keys are refused");

  await issuer.start([...fresh, ...keys.filter((key) => key.alg !== "RS256")]);
  const deadline = fetched + REFETCH_PAUSE + 10_000;
  while ((await status(tokens[0])) !== 200) {
    assert.ok(Date.now() < deadline, "the new keys were not fetched in time");
    await pause(500);
  }
  assert.ok(Date.now() >= fetched + REFETCH_PAUSE - 500, "unknown key ids made it ask too often");
  assert.deepEqual(await statuses(tokens), [200, 200, 200]);
  assert.deepEqual(await statuses(old), [401, 200, 200], "a withdrawn key is refused, the others are still known");
  assert.equal(issuer.asked, 2);
  say("issuer back: new keys accepted after one look, the withdrawn one refused");
}

const program = process.argv[2] ?? assert.fail("usage: node oidc.mjs PATH-OF-LINKBROKER");
const folder = await mkdtemp(join(tmpdir(), "linkbroker-oidc."));
// As root, the server's Postgres runs under another user, who has to pass through.
await chmod(folder, 0o711);
const issuer = new Issuer();
try {
  const keys = await makeKeys();
  await issuer.start(keys);
  const server = await serve(program, issuer, folder);
  try {
    await story(server, issuer, keys);
  } finally {
    await server.end();
  }
} finally {
  await issuer.stop();
  await rm(folder, { recursive: true, force: true });
}
