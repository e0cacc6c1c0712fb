import { request as httpRequest, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { EncryptJWT, UnsecuredJWT } from "jose";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { failureOf, gate, until } from "../../runtime/test/support.js";
import {
  type CookieSessionOptions,
  checkSameOrigin,
  cookieSession,
  type GatewayOptions,
} from "../src/index.js";
import { useGateway } from "./support.js";

const { nats, gateway } = useGateway();

const secret = "a secret of more than thirty-two bytes";
const otherSecret = "another secret of more than thirty-two bytes";
const get = "/test.v1.TestService/Get";
const hour = 3_600_000;

// jose asks the same clock.
beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
afterEach(() => void vi.useRealTimers());
const pass = (ms: number) => vi.setSystemTime(Date.now() + ms);

/** The cookie that a browser sends back. */
const cookieOf = (setCookie: string) => setCookie.split(";", 1)[0] as string;

/** A gateway with sessions, and a worker that tells the calls that reach it. */
async function started(options: Partial<CookieSessionOptions> = {}, more: GatewayOptions = {}) {
  const seen: (string | null)[] = [];
  await nats.worker({
    get: (_request, { requestHeader }) => {
      seen.push(requestHeader.get("x-user"));
      return {};
    },
  });
  const session = cookieSession({ secrets: [secret], ...options });
  const { url } = await gateway({ authenticate: session, ...more });
  const setCookie = await session.create({ owner: "ada", headers: { "X-User": "ada" } });
  const cookie = cookieOf(setCookie);
  return { session, url, seen, setCookie, cookie };
}

/** Sends exactly these headers, as a browser may. */
function send(
  url: string,
  headers: Record<string, string>,
  { method = "POST", path = get, body = "{}" } = {},
): Promise<IncomingMessage & { body: string }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${url}${path}`, { method, headers }, async (response) => {
      resolve(Object.assign(response, { body: await text(response) }));
    });
    request.on("error", reject).end(method === "GET" ? undefined : body);
  });
}

const json = { "content-type": "application/json" };

test("the cookie is for this host and https only, and for no script; its page may call", async () => {
  const { url, setCookie, cookie, seen, session } = await started();
  expect(setCookie).toMatch(
    /^__Host-jetrpc-session=[\w.-]+; Path=\/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure$/,
  );
  // What the session holds is nobody's to read.
  const parts = cookie.split(".").map((part) => Buffer.from(part, "base64url").toString());
  expect(parts.join()).not.toContain("ada");
  const page = { ...json, cookie, origin: url, "sec-fetch-site": "same-origin" };
  expect((await send(url, page)).statusCode).toBe(200);
  expect((await send(url, { ...page, cookie: `a=b; ${cookie}; c=d` })).statusCode).toBe(200);
  expect(seen).toEqual(["ada", "ada"]);
  expect((await send(url, { ...json, origin: url })).statusCode).toBe(401);
  expect((await session.read(cookie))?.identity.owner).toBe("ada");
});

test("the own origin is one by https, wherever TLS ends; that of HTTP/2 counts, too", async () => {
  const { url, cookie, seen } = await started();
  const host = "api.example.com";
  const by = (origin: string) => send(url, { ...json, cookie, host, origin });
  expect((await by("https://api.example.com")).statusCode).toBe(200);
  expect((await by("http://api.example.com")).statusCode).toBe(403);
  // Some proxies name the port that https has anyway; another one is another origin.
  const at = (host: string, origin = "https://api.example.com") =>
    send(url, { ...json, cookie, host, origin }).then(({ statusCode }) => statusCode);
  expect(await at("api.example.com:443")).toBe(200);
  expect(await at("api.example.com:80")).toBe(403);
  expect(await at("api.example.com:8443")).toBe(403);
  expect(await at("api.example.com:8443", "https://api.example.com:8443")).toBe(200);
  expect(await at("api.example.com:443:443")).toBe(403);
  seen.length = 1;
  const client = createClient(
    TestService,
    createConnectTransport({ baseUrl: url, httpVersion: "2" }),
  );
  await client.get({}, { headers: { Cookie: cookie, Origin: url } });
  await failureOf(client.get({}, { headers: { Cookie: cookie } }));
  expect(seen).toHaveLength(2);
});

test("what a page of another origin can make a browser send is refused, and has no effect", async () => {
  const { url, cookie, seen } = await started(
    {},
    // A partner's page may call by a token of its own.
    { cors: { origins: ["https://partner.example.com", "https://www.api.example.com"] } },
  );
  const host = "api.example.com";
  const own = "https://api.example.com";
  const form = "application/x-www-form-urlencoded";
  const forged: Record<string, string>[] = [
    // Forms.
    { "content-type": form, origin: "https://evil.example.net", "sec-fetch-site": "cross-site" },
    { "content-type": form, origin: own },
    { "content-type": "multipart/form-data; boundary=x", origin: own },
    // JSON as text, and without a type.
    { "content-type": "text/plain", origin: own, "sec-fetch-site": "same-origin" },
    { "content-type": "TEXT/plain; a=application/json", origin: own },
    { origin: own, "sec-fetch-site": "same-origin" },
    // No origin, or none that is known.
    { ...json },
    { ...json, "sec-fetch-site": "same-site" },
    { ...json, "sec-fetch-site": "cross-site" },
    { ...json, "sec-fetch-site": "none" },
    { ...json, origin: "null" },
    { ...json, origin: "null", "sec-fetch-site": "same-origin" },
    // A sibling, a parent, a look-alike, another port.
    { ...json, origin: "https://www.api.example.com", "sec-fetch-site": "same-site" },
    { ...json, origin: "https://example.com", "sec-fetch-site": "same-site" },
    { ...json, origin: "https://api.example.com.evil.net" },
    { ...json, origin: "https://api.example.com:8443", "sec-fetch-site": "same-site" },
    { ...json, origin: "https://partner.example.com", "sec-fetch-site": "cross-site" },
    { ...json, origin: own, "sec-fetch-site": "cross-site" },
  ];
  for (const headers of forged) {
    const { statusCode } = await send(url, { host, cookie, ...headers });
    expect([headers, statusCode]).toEqual([headers, 403]);
  }
  expect(seen).toEqual([]);
  expect((await send(url, { ...json, host, cookie, origin: own })).statusCode).toBe(200);
});

test("a GET is for methods without side effects; a link may lead to one, a page of others not load it", () => {
  const may = (headers: Record<string, string>, method = "GET") => {
    try {
      const all = new Headers({ host: "api.example.com", ...headers });
      checkSameOrigin({ method, headers: all }, ["https://app.example.com"]);
      return true;
    } catch {
      return false;
    }
  };
  const link = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
  expect(may({})).toBe(true);
  expect(may({ "sec-fetch-site": "none", ...link })).toBe(true);
  expect(may({ "sec-fetch-site": "same-origin" })).toBe(true);
  expect(may({ "sec-fetch-site": "cross-site", ...link })).toBe(true);
  expect(may({ "sec-fetch-site": "cross-site", ...link, "sec-fetch-dest": "iframe" })).toBe(false);
  expect(may({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" })).toBe(false);
  expect(may({ "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors" })).toBe(false);
  expect(may({ origin: "https://evil.example.com" })).toBe(false);
  expect(may({ origin: "null" })).toBe(false);
  const app = { origin: "https://app.example.com", "sec-fetch-site": "same-site" };
  expect(may(app)).toBe(true);
  expect(may({ ...app, ...json }, "POST")).toBe(true);
  expect(may({ ...app, "content-type": "text/plain" }, "POST")).toBe(false);
  expect(may(app, "PUT")).toBe(true);
  // A link changes nothing: another method by the same headers is refused.
  expect(may({ "sec-fetch-site": "cross-site", ...link, ...json }, "POST")).toBe(false);
});

test("by GET no method with side effects is called", async () => {
  const { url, cookie, seen } = await started();
  const by = (method: string) => {
    const path = `/test.v1.TestService/${method}?encoding=json&message=%7B%7D`;
    return send(url, { cookie }, { method: "GET", path });
  };
  expect((await by("Do")).statusCode).toBe(405);
  expect((await by("Slow")).statusCode).toBe(405);
  expect(seen).toEqual([]);
  const answer = await by("Get");
  expect(answer.statusCode).toBe(200);
  // No cache on the way may give it to somebody else.
  expect(answer.headers["cache-control"]).toBe("private, no-cache");
});

test("a page of another origin uses the session where both sides name it", async () => {
  const origin = "https://app.example.com";
  const { url, cookie } = await started(
    { origins: [origin] },
    { cors: { origins: [origin], credentials: true } },
  );
  const headers = { ...json, cookie, origin, "sec-fetch-site": "same-site" };
  const answer = await send(url, headers);
  expect(answer.statusCode).toBe(200);
  expect(answer.headers["access-control-allow-credentials"]).toBe("true");
  expect(answer.headers["access-control-allow-origin"]).toBe(origin);
  await expect(gateway({ cors: { origins: ["*"], credentials: true } })).rejects.toThrow(
    /name the origins/,
  );
});

test("a cookie that has expired, was changed, or is of others is refused", async () => {
  const { url, cookie, seen } = await started();
  const [name, value] = cookie.split("=") as [string, string];
  const stranger = cookieSession({ secrets: [otherSecret] });
  const now = Math.floor(Date.now() / 1000);
  const claims = { identity: { owner: "eve" }, createdAt: Date.now(), jti: "a", iat: now };
  const header = JSON.parse(Buffer.from(value.split(".")[0] as string, "base64url").toString());
  // The secret itself is not the key: a token that another program made with it is none of ours.
  const ofRawSecret = await new EncryptJWT({ ...claims, exp: now + 60 })
    .setProtectedHeader(header)
    .encrypt(new TextEncoder().encode(secret).slice(0, 32));
  const bad = [
    ...value.split(".").flatMap((part, i, all) => {
      // `dir` has no encrypted key: that part is empty.
      const other = part.startsWith("A") ? `B${part.slice(1)}` : `A${part.slice(1)}`;
      return [all.with(i, other).join("."), all.with(i, "").join(".")];
    }),
    cookieOf(await stranger.create({ owner: "eve" })).split("=")[1],
    new UnsecuredJWT({ ...claims, exp: now + 60 }).encode(),
    ofRawSecret,
    "x",
    "a.b.c.d.e",
  ].filter((each) => each !== value);
  const ask = (cookie: string) => send(url, { ...json, cookie, origin: url });
  for (const each of bad) {
    expect([each, (await ask(`${name}=${each}`)).statusCode]).toEqual([each, 401]);
  }
  expect(seen).toEqual([]);
  pass(12 * hour + 1000);
  const late = await ask(cookie);
  expect(late.statusCode).toBe(401);
  expect(late.body).toContain("it has expired");
  expect(seen).toEqual([]);
});

test("a session that is used is renewed, and ends with its lifetime", async () => {
  const { url, cookie, session } = await started({ idleTimeoutMs: 2 * hour, lifetimeMs: 5 * hour });
  const first = await session.read(cookie);
  let current = cookie;
  const ask = () => send(url, { ...json, cookie: current, origin: url });
  expect((await ask()).headers["set-cookie"]).toBeUndefined();
  for (let hours = 0; hours < 4.5; hours += 1.5) {
    pass(1.5 * hour);
    const { statusCode, headers } = await ask();
    expect(statusCode).toBe(200);
    const [renewed] = headers["set-cookie"] as [string];
    current = `${cookie}; ${cookieOf(renewed)}`;
  }
  const last = await session.read(current);
  expect([last?.id, last?.createdAt]).toEqual([first?.id, first?.createdAt]);
  pass(0.6 * hour);
  expect((await ask()).statusCode).toBe(401);
  // The first cookie is no sign that the session was used, under whichever name it comes.
  const used = cookieOf(await session.create({ owner: "ada" }));
  pass(2 * hour);
  current = `${used}; ${used.replace("=", "-used=")}`;
  expect((await ask()).statusCode).toBe(401);
  // One whose lifetime was made shorter ends, too.
  const lasting = cookieSession({ secrets: [secret] });
  const old = cookieOf(await lasting.create({ owner: "ada" }));
  pass(1.5 * hour);
  const again = await send(url, { ...json, cookie: old, origin: url });
  expect(again.statusCode).toBe(200);
  const kept = `${old}; ${cookieOf((again.headers["set-cookie"] as [string])[0])}`;
  pass(1.5 * hour);
  expect((await send(url, { ...json, cookie: kept, origin: url })).statusCode).toBe(200);
  pass(3 * hour);
  expect((await send(url, { ...json, cookie: old, origin: url })).statusCode).toBe(401);
});

test("secrets are exchanged: an old one reads its sessions on, and the new one renews them", async () => {
  const { cookie } = await started();
  const both = await started({ secrets: [otherSecret, secret] });
  pass(7 * hour);
  const answer = await send(both.url, { ...json, cookie, origin: both.url });
  expect(answer.statusCode).toBe(200);
  const renewed = cookieOf((answer.headers["set-cookie"] as [string])[0]);
  pass(7 * hour);
  const read = async (...secrets: string[]) =>
    (await cookieSession({ secrets }).read(`${renewed}; ${cookie}`))?.identity.owner;
  expect(await read(otherSecret, secret)).toBe("ada");
  expect(await read(secret)).toBeUndefined();
  expect(await read(otherSecret)).toBeUndefined();
});

/** What a browser keeps of the cookies that it is sent. */
function browser() {
  const jar = new Map<string, string>();
  return {
    take(setCookies: readonly string[] = []) {
      for (const each of setCookies) {
        const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(each) ?? [];
        jar.delete(name);
        if (value !== "" && !each.includes("Max-Age=0;")) {
          jar.set(name, value);
        }
      }
    },
    get cookie() {
      return [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    },
  };
}

test("a session whose logout comes while a request is under way that renews it does not come back", async () => {
  const { opened, open } = gate();
  let running = 0;
  await nats.worker({
    get: async ({ text }) => {
      running += 1;
      await (text === "slow" && opened);
      return {};
    },
  });
  const session = cookieSession({ secrets: [secret] });
  const { url } = await gateway({ authenticate: session });
  const ada = browser();
  ada.take([await session.create({ owner: "ada" })]);
  const ask = (text = "") =>
    send(url, { ...json, cookie: ada.cookie, origin: url }, { body: JSON.stringify({ text }) });
  pass(7 * hour);
  const slow = ask("slow");
  await until(() => running === 1);
  ada.take([session.end()]);
  open();
  const late = await slow;
  expect([late.statusCode, late.headers["set-cookie"]]).toEqual([200, [expect.any(String)]]);
  ada.take(late.headers["set-cookie"]);
  expect((await ask()).statusCode).toBe(401);
  expect(await session.read(ada.cookie)).toBeUndefined();
  // Nor does it become part of the next one, which is of somebody else.
  ada.take([await session.create({ owner: "eve" })]);
  expect((await session.read(ada.cookie))?.identity.owner).toBe("eve");
  pass(12 * hour + 1);
  expect((await ask()).statusCode).toBe(401);
  expect(running).toBe(1);
});

test("after a logout a copy of the cookie counts until it expires, unless a store refuses it", async () => {
  const { session, url, cookie } = await started();
  expect(session.end()).toMatch(/^__Host-jetrpc-session=; Path=\/; Max-Age=0; .*Secure$/);
  expect((await send(url, { ...json, cookie, origin: url })).statusCode).toBe(200);

  const ended = new Set<string>();
  const stored = await started({
    identity: ({ id, identity }) => (ended.has(id) ? undefined : identity),
  });
  const ask = () => send(stored.url, { ...json, cookie: stored.cookie, origin: stored.url });
  expect((await ask()).statusCode).toBe(200);
  ended.add((await stored.session.read(stored.cookie))?.id ?? "");
  // It would be renewed now.
  pass(7 * hour);
  const refused = await ask();
  expect(refused.statusCode).toBe(401);
  expect(refused.headers["set-cookie"]).toBeUndefined();
});

test("for tries by http the cookie needs no https, and counts on this machine only", async () => {
  const { url, setCookie, cookie } = await started({ secure: false });
  expect(setCookie).toMatch(/^jetrpc-session=/);
  expect(setCookie).not.toContain("Secure");
  expect((await send(url, { ...json, cookie, origin: url })).statusCode).toBe(200);
  const away = { ...json, cookie, host: "example.com", origin: "https://example.com" };
  expect((await send(url, away)).statusCode).toBe(403);
});

test("impossible options, and an identity that is too large for a cookie, are named", async () => {
  expect(() => cookieSession({ secrets: [] })).toThrow(/give one/);
  expect(() => cookieSession({ secrets: ["short"] })).toThrow(/needs 32/);
  expect(() => cookieSession({ secrets: [secret], idleTimeoutMs: 10 })).toThrow(/idleTimeoutMs/);
  expect(() => cookieSession({ secrets: [secret], lifetimeMs: Number.NaN })).toThrow(/lifetimeMs/);
  const methods = Array.from({ length: 200 }, (_, i) => `test.v1.TestService/Method${i}`);
  await expect(cookieSession({ secrets: [secret] }).create({ methods })).rejects.toThrow(
    /browsers keep 4096/,
  );
});
