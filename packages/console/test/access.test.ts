import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { apiTokens, createApiToken, hashApiToken } from "@jetrpc/gateway";
import { Code } from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { failureOf } from "../../runtime/test/support.js";
import { Ability, Role } from "../src/gen/jetrpc/console/v1/console_service_pb.js";
import { ConsoleService, readMethods } from "../src/index.js";
import { safePath } from "../src/login.js";
import { clientOf, cookieOf, logIn, provideConsoles, send, startTestConsole } from "./support.js";

const { nats, start, client } = provideConsoles();
const path = "/jetrpc.console.v1.ConsoleService/GetSession";
const json = { "content-type": "application/json", "connect-protocol-version": "1" };

/** Asks for the session by hand. */
function ask(url: string, headers: Record<string, string>) {
  return send(`${url}${path}`, { method: "POST", headers: { ...json, ...headers }, body: "{}" });
}

describe("the printed address", () => {
  test("begins a session, and works once", async () => {
    const running = await start();
    const address = running.newAddress();
    const first = await send(address);
    expect(first.status).toBe(303);
    expect(first.headers.location).toBe("/");
    const [cookie = ""] = first.headers["set-cookie"] ?? [];
    expect(cookie).toMatch(
      /^jetrpc-console-\d+=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
    );
    const session = await clientOf(running.url, { cookie: cookieOf(first.headers) }).getSession({});
    expect(session).toMatchObject({ user: "local", role: Role.ACT, masked: false, refusals: [] });
    expect(session.services.map(({ name }) => name)).toEqual(["test.v1.TestService"]);
    expect(session.server?.connected).toBe(true);

    const second = await send(address);
    expect(second.status).toBe(403);
    expect(second.headers["set-cookie"]).toBeUndefined();
    expect(second.text).toContain("works once");
    expect(running.acts.map(({ user, act }) => [user, act])).toEqual([["local", "login"]]);
    // A newer one begins another session.
    expect((await send(running.newAddress())).status).toBe(303);
  });

  test("is not used up by a look at it, nor guessed", async () => {
    const running = await start();
    const address = running.newAddress();
    expect((await send(address, { method: "HEAD" })).status).toBe(403);
    expect((await send(`${running.url}/login?token=${"A".repeat(43)}`)).status).toBe(403);
    expect((await send(`${running.url}/login`)).status).toBe(401);
    expect((await send(address)).status).toBe(303);
  });

  test("is needed: without a session nothing but the page is there", async () => {
    const running = await start();
    const error = await failureOf(clientOf(running.url, {}).getSession({}));
    expect(error.code).toBe(Code.Unauthenticated);
    expect((await send(`${running.url}/files/a/b/c/d/0`)).status).toBe(401);
    const other = clientOf(running.url, {
      cookie: `jetrpc-console-${new URL(running.url).port}=x`,
    });
    expect((await failureOf(other.listCalls({}))).code).toBe(Code.Unauthenticated);
  });

  test("is needed before a request is read", async () => {
    const running = await start();
    const status = await new Promise((resolve, reject) => {
      const headers = { ...json, "content-length": "1000000" };
      const request = httpRequest(`${running.url}${path}`, { method: "POST", headers });
      request.on("error", reject).on("response", (response) => {
        resolve(response.statusCode);
        request.destroy();
      });
      request.flushHeaders();
    });
    expect(status).toBe(401);
    // In the protocol's own words, also of a stream.
    const rest = async () => {
      for await (const _ of clientOf(running.url, {}).watchOverview({})) {
        // Refused before it begins.
      }
    };
    const error = await failureOf(rest());
    expect([error.code, error.rawMessage]).toEqual([
      Code.Unauthenticated,
      "there is no session: open /login",
    ]);
  });

  test("leads to a session that POST /logout ends", async () => {
    const running = await start();
    const cookie = await logIn(running);
    const headers = { cookie, "sec-fetch-site": "same-origin" };
    expect((await ask(running.url, headers)).status).toBe(200);
    const stream = clientOf(running.url, headers).watchOverview({})[Symbol.asyncIterator]();
    expect((await stream.next()).done).toBe(false);
    const out = await send(`${running.url}/logout`, { method: "POST", headers });
    expect(out.headers["set-cookie"]?.[0]).toMatch(/=; Path=\/; Max-Age=0;/);
    expect((await ask(running.url, headers)).status).toBe(401);
    const rest = async () => {
      while (!(await stream.next()).done) {
        // Goes on until it ends.
      }
    };
    expect((await failureOf(rest())).code).toBe(Code.Unauthenticated);
  });
});

describe("a stranger's page", () => {
  test("whose own name leads here is refused by the Host header", async () => {
    const running = await start();
    const { host, port } = new URL(running.url);
    const cookie = await logIn(running);
    const own = { cookie, "sec-fetch-site": "same-origin" };
    for (const name of [host, `localhost:${port}`, `LOCALHOST:${port}`]) {
      expect((await ask(running.url, { ...own, host: name })).status).toBe(200);
    }
    for (const name of [
      "evil.example",
      `evil.example:${port}`,
      "127.0.0.1:1",
      `127.0.0.1.evil.example:${port}`,
    ]) {
      expect((await ask(running.url, { ...own, host: name })).status).toBe(421);
      expect((await send(running.newAddress(), { headers: { host: name } })).status).toBe(421);
      expect((await send(running.url, { headers: { host: name } })).status).toBe(421);
    }
  });

  test("makes a browser send nothing that counts", async () => {
    const running = await start();
    const cookie = await logIn(running);
    const { origin } = new URL(running.url);
    expect((await ask(running.url, { cookie, origin })).status).toBe(200);
    expect((await ask(running.url, { cookie, origin: "https://evil.example" })).status).toBe(403);
    // Another port of this machine is another origin.
    expect((await ask(running.url, { cookie, origin: "http://127.0.0.1:1" })).status).toBe(403);
    expect((await ask(running.url, { cookie, "sec-fetch-site": "cross-site" })).status).toBe(403);
    expect((await ask(running.url, { cookie, "sec-fetch-site": "same-site" })).status).toBe(403);
    expect((await ask(running.url, { cookie })).status).toBe(403);
    const form = { cookie, origin, "content-type": "text/plain" };
    expect((await ask(running.url, form)).status).not.toBe(200);
    const { "connect-protocol-version": _, ...plain } = json;
    const without = { headers: { ...plain, cookie, origin }, method: "POST", body: "{}" };
    expect((await send(`${running.url}${path}`, without)).status).toBe(400);
    const out = { method: "POST", headers: { cookie, origin: "https://evil.example" } };
    expect((await send(`${running.url}/logout`, out)).status).toBe(403);
    expect((await ask(running.url, { cookie, origin })).status).toBe(200);
  });

  test("does not frame it, and gets no answer that a browser shows it", async () => {
    const running = await start();
    for (const each of [running.url, `${running.url}/login`, `${running.url}/nothing.js`]) {
      const { headers } = await send(each);
      expect(headers["x-frame-options"]).toBe("DENY");
      expect(headers["x-content-type-options"]).toBe("nosniff");
      expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
      expect(headers["content-security-policy"]).not.toContain("unsafe");
      expect(headers["access-control-allow-origin"]).toBeUndefined();
    }
  });
});

describe("the page", () => {
  test("that is not built says how to build it", async () => {
    const running = await start({ page: "/nowhere" });
    const { status, text } = await send(running.url);
    expect(status).toBe(503);
    expect(text).toContain("npm run build");
    expect(running.logged.join()).toContain("npm run build");
  });

  test("is served by its files, and by no other", async () => {
    const page = mkdtempSync(join(tmpdir(), "jetrpc-page-"));
    try {
      mkdirSync(join(page, "assets"));
      writeFileSync(join(page, "index.html"), "<!doctype html>");
      writeFileSync(join(page, "assets/main-Ab3_x-9Z.js"), "1;");
      writeFileSync(join(page, "icon.svg"), "<svg/>");
      const { url } = await start({ page });
      const typeAndCache = async (path: string) => {
        const { status, headers } = await send(`${url}${path}`);
        return [status, headers["content-type"], headers["cache-control"]];
      };
      const html = [200, "text/html; charset=utf-8", "no-cache"];
      expect(await typeAndCache("/")).toEqual(html);
      expect(await typeAndCache("/calls/test.v1.TestService?x=1.2")).not.toEqual(html);
      expect(await typeAndCache("/calls?state=failed")).toEqual(html);
      expect(await typeAndCache("/icon.svg")).toEqual([200, "image/svg+xml", "no-cache"]);
      expect(await typeAndCache("/assets/main-Ab3_x-9Z.js")).toEqual([
        200,
        "text/javascript; charset=utf-8",
        "public, max-age=31536000, immutable",
      ]);
      for (const path of [
        "/../package.json",
        "/%2e%2e/package.json",
        "/..%2fpackage.json",
        "/a.js",
      ]) {
        expect((await send(`${url}${path}`)).text).not.toContain("@jetrpc/console");
      }
      expect((await send(url, { method: "PUT" })).status).toBe(405);
      for (const path of ["//", "//evil.example/calls", "///"]) {
        expect((await send(`${url}${path}`)).status).toBeLessThan(500);
      }
    } finally {
      rmSync(page, { recursive: true });
    }
  });
});

describe("a login by tokens", () => {
  const [reader, actor] = [createApiToken(), createApiToken()];
  const login = {
    authenticate: apiTokens([
      { sha256: hashApiToken(reader), name: "rita", methods: readMethods },
      { sha256: hashApiToken(actor), name: "ada" },
    ]),
  };
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

  test("knows a program by its token, with its role", async () => {
    const { url } = await start({ login });
    const rita = await clientOf(url, bearer(reader)).getSession({});
    expect(rita).toMatchObject({ user: "rita", role: Role.READ, canLogOut: false });
    const refused = rita.refusals.map(({ ability }) => ability);
    expect(refused).toEqual([Ability.PAUSE, Ability.CANCEL, Ability.REPLAY, Ability.DISCARD]);
    expect(rita.refusals[0]?.reason).toContain('the role "act"');
    const ada = await clientOf(url, bearer(actor)).getSession({});
    expect(ada).toMatchObject({ user: "ada", role: Role.ACT, refusals: [] });
    const error = await failureOf(clientOf(url, bearer(createApiToken())).getSession({}));
    expect(error.code).toBe(Code.Unauthenticated);
  });

  test("begins a session of a browser by a form", async () => {
    const running = await start({ login });
    const { url } = running;
    const form = await send(`${url}/login?back=/calls`);
    expect(form.text).toContain('name="back" value="/calls"');
    const post = (token: string, headers: Record<string, string>, back = "/calls") =>
      send(`${url}/login`, {
        method: "POST",
        headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
        body: new URLSearchParams({ token, back }).toString(),
      });
    const own = { origin: url };
    const good = await post(actor, own);
    expect([good.status, good.headers.location]).toEqual([303, "/calls"]);
    expect((await post(actor, own, "//evil.example")).headers.location).toBe("/");
    const session = await clientOf(url, { cookie: cookieOf(good.headers) }).getSession({});
    expect(session).toMatchObject({ user: "ada", role: Role.ACT, canLogOut: true });
    expect((await post("jetrpc_wrong", own)).status).toBe(403);
    expect((await post("", own)).text).toContain("<form");
    expect((await post(actor, { origin: "https://evil.example" })).status).toBe(403);
  });

  test("ends with the token, also the session that it began", async () => {
    const known = new Set([actor]);
    const { url } = await start({
      login: {
        authenticate: (request) => {
          const token = request.headers.get("authorization")?.slice("Bearer ".length) ?? "";
          return known.has(token) ? login.authenticate(request) : undefined;
        },
      },
    });
    const { headers } = await send(`${url}/login`, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", origin: url },
      body: new URLSearchParams({ token: actor }).toString(),
    });
    const session = clientOf(url, { cookie: cookieOf(headers) });
    expect((await session.getSession({})).user).toBe("ada");
    known.clear();
    expect((await failureOf(session.getSession({}))).code).toBe(Code.Unauthenticated);
  });

  test.for(["a token is taken back", "its role is another one"])(
    "ends a stream before the next message: %s",
    async (change) => {
      const known = new Map([[actor, { name: "ada", methods: undefined as string[] | undefined }]]);
      const running = await start({
        login: {
          authenticate: ({ headers }) => {
            const its = known.get(headers.get("authorization")?.slice("Bearer ".length) ?? "");
            return its && { owner: its.name, ...its };
          },
        },
      });
      const stream = clientOf(running.url, bearer(actor)).watchOverview({})[Symbol.asyncIterator]();
      expect((await stream.next()).done).toBe(false);
      if (change.startsWith("a token")) {
        known.clear();
      } else {
        known.set(actor, { name: "ada", methods: [...readMethods] });
      }
      // What was on its way may come.
      const rest = async () => {
        while (!(await stream.next()).done) {
          // Goes on until it ends.
        }
      };
      const { code } = await failureOf(rest());
      expect(code).toBe(known.size === 0 ? Code.Unauthenticated : Code.Aborted);
    },
  );

  test("lets the role read do nothing", async () => {
    const running = await start({ login });
    const rita = clientOf(running.url, bearer(reader));
    const name = { service: "test.v1.TestService", method: "Do", owner: "_", callId: "a" };
    const { service, method } = name;
    const acts = [
      rita.pauseMethod({ service, method }),
      rita.resumeMethod({ service, method }),
      rita.cancelCalls({ names: [name] }),
      rita.replayCalls({ names: [name] }),
      rita.discardCalls({ names: [name] }),
      rita.replayCall({ name, requestJson: "{}" }),
      (async () => {
        for await (const _ of rita.actOnCalls({ act: 1, dryRun: true })) {
          // Refused before it begins.
        }
      })(),
    ];
    for (const act of acts) {
      const error = await failureOf(act);
      expect(error.code).toBe(Code.PermissionDenied);
      expect(error.rawMessage).toContain('your role is "read"');
    }
    expect(running.acts).toEqual([]);
    // As many as the contract has beside those that look.
    expect(acts.length).toBe(ConsoleService.methods.length - readMethods.length);
  });
});

test("an address that strangers reach is refused without a login and https", async () => {
  const connect = () => nats.connect({ keep: true });
  const login = { authenticate: apiTokens([]) };
  const refusal = async (options: object) =>
    (await failureOf(startTestConsole(connect, options))).rawMessage;
  expect(await refusal({ host: "0.0.0.0" })).toContain("give a login");
  expect(await refusal({ url: "https://console.example.com" })).toContain("give a login");
  expect(await refusal({ host: "0.0.0.0", login })).toContain("https");
  expect(await refusal({ login, url: "http://console.example.com" })).toContain("https");
  expect(await refusal({ url: "console" })).toContain("is no address");
});

test("behind a proxy its own name and origin count", async () => {
  const url = "https://console.example.com";
  const token = createApiToken();
  const login = { authenticate: apiTokens([{ sha256: hashApiToken(token), name: "ada" }]) };
  let port = 0;
  const running = await startTestConsole(() => nats.connect({ keep: true }), {
    login,
    url,
    // Where it listens is the proxy's to know.
    port: await freePort().then((free) => {
      port = free;
      return free;
    }),
  });
  try {
    const local = `http://127.0.0.1:${port}`;
    const body = new URLSearchParams({ token }).toString();
    const headers = {
      "content-type": "application/x-www-form-urlencoded",
      host: "console.example.com",
      origin: url,
    };
    const { headers: answered } = await send(`${local}/login`, { method: "POST", headers, body });
    expect(answered["set-cookie"]?.[0]).toMatch(/^__Host-jetrpc-console-443=.*; Secure$/);
    const cookie = cookieOf(answered);
    expect((await ask(local, { cookie, host: "console.example.com", origin: url })).status).toBe(
      200,
    );
    expect((await ask(local, { cookie, host: "evil.example", origin: url })).status).toBe(421);
  } finally {
    await running.close();
  }
});

test("a browser is sent back within the console only", () => {
  expect(safePath("/calls?state=failed#top")).toBe("/calls?state=failed#top");
  for (const path of [
    "//evil.example",
    "/\\evil.example",
    "https://evil.example",
    "/login",
    "\t//x",
    "",
    null,
  ]) {
    expect(safePath(path)).toBe("/");
  }
});

test("live streams end when the console ends", async () => {
  const { running, client: page } = await client();
  const stream = page.watchOverview({})[Symbol.asyncIterator]();
  await stream.next();
  const ended = failureOf(
    (async () => {
      while (!(await stream.next()).done) {
        // Until it ends.
      }
    })(),
  );
  await running.close();
  expect((await ended).code).toBe(Code.Unavailable);
});

/** A port that nobody has. */
async function freePort(): Promise<number> {
  const { createServer } = await import("node:net");
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
