import { createHash } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Code } from "@jetrpc/runtime";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { afterEach, expect, test } from "vitest";
import { failureOf } from "../../runtime/test/support.js";
import { Role } from "../src/gen/jetrpc/console/v1/console_service_pb.js";
import { clientOf, cookieOf, provideConsoles, send } from "./support.js";

const { start } = provideConsoles();
const servers: Server[] = [];
afterEach(() => servers.splice(0).map((server) => server.close()));

/** A provider that knows one person, and takes each code once. */
async function provider(claims: JWTPayload) {
  const { publicKey, privateKey } = await generateKeyPair("RS256");
  const keys = [{ ...(await exportJWK(publicKey)), kid: "one", alg: "RS256", use: "sig" }];
  const codes = new Map<string, URLSearchParams>();
  const self = { issuer: "", isDown: false, nonce: undefined as string | undefined };
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: object) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    const { pathname } = new URL(request.url ?? "", self.issuer);
    if (self.isDown) {
      answer(503, {});
    } else if (pathname === "/.well-known/openid-configuration") {
      const at = (path: string) => `${self.issuer}${path}`;
      answer(200, {
        issuer: self.issuer,
        authorization_endpoint: at("/authorize"),
        token_endpoint: at("/token"),
        jwks_uri: at("/jwks"),
        response_types_supported: ["code"],
        id_token_signing_alg_values_supported: ["RS256"],
      });
    } else if (pathname === "/jwks") {
      answer(200, { keys });
    } else {
      let text = "";
      for await (const chunk of request) {
        text += chunk;
      }
      const form = new URLSearchParams(text);
      const code = form.get("code") ?? "";
      const asked = codes.get(code);
      codes.delete(code);
      const challenge = createHash("sha256").update(form.get("code_verifier") ?? "");
      if (!asked || challenge.digest("base64url") !== asked.get("code_challenge")) {
        answer(400, { error: "invalid_grant", error_description: "a secret of the provider" });
        return;
      }
      const id_token = await new SignJWT({ ...claims, nonce: self.nonce ?? asked.get("nonce") })
        .setProtectedHeader({ alg: "RS256", kid: "one" })
        .setIssuer(self.issuer)
        .setAudience("console")
        .setIssuedAt()
        .setExpirationTime("5m")
        .sign(privateKey);
      answer(200, { access_token: "secret-access", token_type: "bearer", id_token });
    }
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await new Promise((resolve) => server.once("listening", resolve));
  self.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(self, {
    /** Logs the person in: the address that the browser is sent back to. */
    authorize(location: string): URL {
      const { searchParams } = new URL(location);
      const code = `code-${codes.size}-${Math.random()}`;
      codes.set(code, searchParams);
      const back = new URL(searchParams.get("redirect_uri") ?? "");
      back.searchParams.set("code", code);
      back.searchParams.set("state", searchParams.get("state") ?? "");
      return back;
    },
  });
}

const role = ({ groups }: Readonly<Record<string, unknown>>) =>
  Array.isArray(groups) && groups.includes("operators")
    ? ("act" as const)
    : Array.isArray(groups) && groups.includes("staff")
      ? ("read" as const)
      : undefined;

const ada = { sub: "1", email: "ada@example.com", groups: ["operators"] };

async function startWith(claims: JWTPayload) {
  const its = await provider(claims);
  const login = { issuer: its.issuer, clientId: "console", role };
  const running = await start({ login });
  return { its, running, url: running.url };
}

test("a login by code and PKCE begins a session with the role of its claims", async () => {
  const { its, running, url } = await startWith(ada);
  expect(running.newAddress()).toBe(url);
  const begun = await send(`${url}/login?back=/calls?state=failed`);
  const there = new URL(begun.headers.location ?? "");
  expect(there.origin).toBe(its.issuer);
  expect(Object.fromEntries(there.searchParams)).toMatchObject({
    response_type: "code",
    client_id: "console",
    redirect_uri: `${url}/login/callback`,
    code_challenge_method: "S256",
    scope: "openid profile email",
  });
  // The provider sends the browser back, from another site.
  expect(begun.headers["set-cookie"]?.[0]).toContain("HttpOnly; SameSite=Lax");
  const cookie = cookieOf(begun.headers);
  const back = its.authorize(there.href);
  const done = await send(back.href, { headers: { cookie } });
  expect([done.status, done.headers.location]).toEqual([303, "/calls?state=failed"]);
  expect(done.headers["set-cookie"]?.[0]).toContain("HttpOnly; SameSite=Strict");
  const session = await clientOf(url, { cookie: cookieOf(done.headers) }).getSession({});
  expect(session).toMatchObject({ user: "ada@example.com", role: Role.ACT, canLogOut: true });
  expect(JSON.stringify(running.acts)).not.toContain("secret");
  // Each of them counts once.
  expect((await send(back.href, { headers: { cookie } })).status).toBe(403);
});

test("who may only look has the role read, and who may not is told", async () => {
  for (const [groups, status] of [
    [["staff"], 303],
    [["others"], 403],
    [undefined, 403],
  ] as const) {
    const { its, url } = await startWith({ sub: "2", name: "Rita", groups });
    const { headers } = await send(`${url}/login`);
    const back = its.authorize(headers.location ?? "");
    const done = await send(back.href, { headers: { cookie: cookieOf(headers) } });
    expect(done.status).toBe(status);
    if (status === 303) {
      const page = clientOf(url, { cookie: cookieOf(done.headers) });
      expect(await page.getSession({})).toMatchObject({ user: "Rita", role: Role.READ });
    } else {
      expect(done.text).toContain("may not use this console");
      expect(done.headers["set-cookie"]).toBeUndefined();
    }
  }
});

test("what was begun in another browser, or forged, or is of another login, begins no session", async () => {
  const { its, url } = await startWith(ada);
  const begin = async () => (await send(`${url}/login`)).headers;
  const finish = (address: URL, cookie: string) => send(address.href, { headers: { cookie } });
  const first = await begin();
  const second = await begin();
  const backOfFirst = its.authorize(first.location ?? "");
  expect((await finish(backOfFirst, "")).status).toBe(403);
  // The state is the other browser's, whose login is not used up by that.
  expect((await finish(backOfFirst, cookieOf(second))).status).toBe(403);
  const backOfSecond = its.authorize(second.location ?? "");
  backOfSecond.searchParams.set("state", backOfFirst.searchParams.get("state") ?? "");
  expect((await finish(backOfSecond, cookieOf(second))).status).toBe(403);
  expect((await finish(backOfFirst, cookieOf(first))).status).toBe(303);
  const third = await begin();
  const forged = its.authorize(third.location ?? "");
  forged.searchParams.set("code", "guessed");
  const answer = await finish(forged, cookieOf(third));
  expect(answer.status).toBe(401);
  expect(answer.text).toContain("invalid_grant");
  expect(answer.text).not.toContain("secret");
  const fourth = await begin();
  its.nonce = "of another login";
  const replayed = await finish(its.authorize(fourth.location ?? ""), cookieOf(fourth));
  expect(replayed.status).toBe(401);
  expect(replayed.headers["set-cookie"]).toBeUndefined();
});

test("two tabs of a browser log in at once", async () => {
  const { its, url } = await startWith(ada);
  const first = (await send(`${url}/login?back=/calls`)).headers;
  let cookie = cookieOf(first);
  const second = (await send(`${url}/login?back=/acts`, { headers: { cookie } })).headers;
  // The browser keeps the last one.
  cookie = cookieOf(second);
  for (const [{ location }, back] of [
    [first, "/calls"],
    [second, "/acts"],
  ] as const) {
    const done = await send(its.authorize(location ?? "").href, { headers: { cookie } });
    expect([done.status, done.headers.location]).toEqual([303, back]);
  }
});

test("logins that nobody ends make room for others", async () => {
  const { its, url } = await startWith(ada);
  const begin = async () => (await send(`${url}/login`)).headers;
  const finish = async ({ location = "" }: IncomingHttpHeaders, cookie: string) =>
    (await send(its.authorize(location).href, { headers: { cookie } })).status;
  const oldest = await begin();
  for (let count = 0; count < 1_000; count += 50) {
    await Promise.all(Array.from({ length: 50 }, begin));
  }
  const newest = await begin();
  expect(await finish(oldest, cookieOf(oldest))).toBe(403);
  expect(await finish(newest, cookieOf(newest))).toBe(303);
});

test("a provider of another issuer is told, with the right one", async () => {
  const { its, url } = await startWith(ada);
  const given = its.issuer;
  its.issuer = `${given}/realms/staff`;
  const { status, text } = await send(`${url}/login`);
  expect(status).toBe(503);
  expect(text).toContain(`says that its issuer is ${given}/realms/staff, and not ${given}`);
  its.issuer = given;
  expect((await send(`${url}/login`)).status).toBe(303);
});

test("a provider that is away is told, and asked again", async () => {
  const { its, url } = await startWith(ada);
  its.isDown = true;
  const away = await send(`${url}/login`);
  expect(away.status).toBe(503);
  expect(away.text).toContain("cannot be reached");
  expect((await failureOf(clientOf(url, {}).getSession({}))).code).toBe(Code.Unauthenticated);
  its.isDown = false;
  expect((await send(`${url}/login`)).status).toBe(303);
});
