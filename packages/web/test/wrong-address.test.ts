import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { blobOf, Code, type ConnectError, createClient, mayHaveRun } from "@jetrpc/runtime";
import { expect, onTestFinished, test, vi } from "vitest";
import { BlobService } from "../../runtime/test/gen/test/v1/blob_pb.js";
import { collect, failureOf, gate, type TestClient } from "../../runtime/test/support.js";
import { connectGateway } from "../src/index.js";
import { openTunnel } from "./open-tunnel.js";
import { useWeb } from "./support.js";

const web = useWeb();

/** Nobody listens there. */
const nobody = "http://127.0.0.1:2";

/** Some server, which is no gateway. */
async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** All that waits for a gateway, each without a limit. */
function waitsOf(client: TestClient): Promise<unknown>[] {
  return [
    client.do({}),
    client.do.submit({}),
    client.do.attach("one").result(),
    client.do.attach("one").status(),
    client.do.attach("one").cancel(),
    collect(client.do.attach("one").progress()),
    collect(client.count.attach("one")),
    collect(client.count({})),
    client.get({}),
  ];
}

test("an address where nobody listens is told as what it is, and not waited for", async () => {
  const client = web.clientOf(nobody);
  const errors = await Promise.all(waitsOf(client).map(failureOf));
  expect(errors.map(({ code }) => code)).toEqual(errors.map(() => Code.Unavailable));
  for (const { rawMessage } of errors) {
    expect(rawMessage).toMatch(
      /^http:\/\/127\.0\.0\.1:2 cannot be reached: .+ECONNREFUSED.+Check that this is the address/,
    );
  }
});

test("a name that does not exist is told, and what is in front of it", async () => {
  const error = await failureOf(web.clientOf("http://gateway.invalid").do({}));
  expect(error.code).toBe(Code.Unavailable);
  expect(error.rawMessage).toMatch(
    /^http:\/\/gateway\.invalid cannot be reached: .+gateway\.invalid/,
  );
});

test.for([
  ["a page that is not found", 404, "text/html", "<h1>Not found</h1>", "check the address"],
  ["a page of a single-page app", 200, "text/html", "<div id=root>", "check the address"],
  ["another API", 404, "application/json", '{"error":"no route"}', "check the address"],
  ["an API that takes all", 200, "application/json", "{}", "check the address"],
  ["a server of files", 405, "text/plain", "", "check the address"],
] as const)("%s is no gateway, and that is said at once", async ([, status, type, body, mend]) => {
  let requests = 0;
  const url = await serve((_request, response) => {
    requests++;
    response.writeHead(status, { "content-type": type }).end(body);
  });
  const client = web.clientOf(url);
  const upload = createClient<{ copy: TestClient["do"] }>(BlobService, web.connectionOf(url));
  const file = { file: blobOf(new Uint8Array(3)) } as object;
  const waits = [...waitsOf(client), upload.copy(file)];
  if (type !== "application/json") {
    // Otherwise the answer to HEAD, which has no body, may be a gateway's.
    waits.push(upload.copy.submit(file, { callId: "one" }));
  }
  const errors = await Promise.all(waits.map(failureOf));
  for (const { code, rawMessage } of errors) {
    expect([code, rawMessage]).toEqual([
      Code.Unavailable,
      expect.stringContaining(`${url} answers ${status} (${type}), which is not from a gateway`),
    ]);
    expect(rawMessage).toContain(mend);
  }
  // Each has asked once.
  expect(requests).toBe(waits.length);
});

test.for([
  ["api.example.com", "write https://api.example.com"],
  ["localhost:8080", "it begins with https:// or http://"],
  ["file:///srv/gateway", "it begins with https:// or http://"],
  ["wss://nats.example.com", "connect to NATS by createConnection()"],
  ["https://ada:secret@api.example.com", "leave out user and password"],
  ["https://api.example.com/?tenant=1", "leave out what begins with ?"],
] as const)("%s is refused before anything is sent", ([url, mend]) => {
  const error = (() => {
    try {
      connectGateway(url);
    } catch (error) {
      return error as ConnectError;
    }
    return undefined;
  })();
  expect(error?.code).toBe(Code.InvalidArgument);
  expect(error?.rawMessage).toContain(mend);
  expect(error?.rawMessage).not.toContain("secret");
});

test("paths are addresses for a page, also while a server renders it", () => {
  for (const url of ["/", "/api", "./api", "", undefined]) {
    expect(connectGateway(url).transport).toBeDefined();
  }
});

test("a gateway below a path is called there, with and without a slash at its end", async () => {
  const paths: string[] = [];
  const url = await serve((request, response) => {
    paths.push(request.url as string);
    response.writeHead(404, { "content-type": "text/html" }).end();
  });
  for (const prefix of [`${url}/api`, `${url}/api/`]) {
    await failureOf(web.clientOf(prefix).get({}));
    const upload = createClient<{ copy: TestClient["do"] }>(BlobService, web.connectionOf(prefix));
    await failureOf(upload.copy({ file: blobOf(new Uint8Array(3)) } as object));
  }
  for (const path of [paths[0], paths[2]]) {
    expect(path).toBe("/api/test.v1.TestService/Get");
  }
  for (const path of [paths[1], paths[3]]) {
    expect(path).toMatch(/^\/api\/blobs\/test\.v1\.BlobService\/Copy\/[\w-]+\/0$/);
  }
});

test("a redirect is told at once, and where it leads", async () => {
  let requests = 0;
  const url = await serve((_request, response) => {
    requests++;
    response.writeHead(302, { location: "https://login.example.com/sign-in" }).end();
  });
  const client = web.clientOf(url);
  const upload = createClient<{ copy: TestClient["do"] }>(BlobService, web.connectionOf(url));
  const file = { file: blobOf(new Uint8Array(3)) } as object;
  const waits = [client.do.submit({}), client.get({}), upload.copy(file)];
  for (const error of await Promise.all(waits.map(failureOf))) {
    expect(error.code).toBe(Code.Unavailable);
    expect(error.rawMessage).toBe(
      `${url} answers with a redirect to https://login.example.com/sign-in, which is not from a gateway: check the address, and what is in front of it`,
    );
  }
  expect(requests).toBe(3);
});

test("a page that came by https is told why it reaches nothing by http", async () => {
  vi.stubGlobal("location", { protocol: "https:" });
  onTestFinished(() => void vi.unstubAllGlobals());
  const hint = "browsers let it call https only";
  const client = (url: string) =>
    web.clientOf(url, { fetch: () => Promise.reject(new TypeError("Failed to fetch")) });
  expect((await failureOf(client("http://api.example.com").get({}))).rawMessage).toContain(hint);
  expect((await failureOf(client("https://api.example.com").get({}))).rawMessage).not.toContain(
    hint,
  );
});

test("what is in front of a gateway and refuses is believed, and named", async () => {
  for (const [status, code] of [
    [401, Code.Unauthenticated],
    [403, Code.PermissionDenied],
    [413, Code.ResourceExhausted],
  ] as const) {
    const url = await serve((_request, response) => {
      response.writeHead(status, { "content-type": "text/html" }).end("<h1>No</h1>");
    });
    const error = await failureOf(web.clientOf(url).do.submit({}));
    expect(error.code).toBe(code);
    expect(error.rawMessage).toContain(`${url} answers ${status}`);
  }
});

test("a gateway that comes a moment later is waited for", async () => {
  await web.worker({ do: () => ({ text: "done" }) });
  const tunnel = await openTunnel();
  tunnel.leadTo(nobody);
  const result = web.clientOf(tunnel.url).do({});
  tunnel.leadTo((await web.gateway()).url);
  expect((await result).text).toBe("done");
});

test("a gateway that was reached once is waited for, whatever a proxy says meanwhile", async () => {
  const go = gate();
  await web.worker({
    async *count() {
      yield { index: 0 };
      await go.opened;
      yield { index: 1 };
    },
  });
  const { url } = await web.gateway();
  let answers: (() => Response | Promise<never>)[] = [];
  const client = web.clientOf(url, {
    fetch: async (input, init) => (await answers.shift()?.()) ?? fetch(input, init),
  });
  let skipped = 0;
  const { now } = Date;
  vi.spyOn(Date, "now").mockImplementation(() => now() + skipped);
  onTestFinished(() => void vi.restoreAllMocks());
  const away =
    (status: number, type = "text/html", body = "<h1>Away</h1>") =>
    () => {
      skipped += 20_000;
      return new Response(body, { status, headers: { "content-type": type } });
    };
  const lost = () => {
    skipped += 20_000;
    return Promise.reject(new TypeError("Failed to fetch"));
  };
  const call = await client.count.submit({});
  const got: number[] = [];
  const states = [away(502), away(503, "text/plain"), lost, away(530)];
  // NATS is away, says the gateway, also when it is asked for the status.
  const unavailable = '{"code":"unavailable","message":"NATS is away"}';
  const waiting = Array.from({ length: 4 }, () => away(503, "application/json", unavailable));
  answers = [...states, ...waiting];
  for await (const { index } of call) {
    got.push(index);
    go.open();
  }
  expect(got).toEqual([0, 1]);
  expect(answers).toEqual([]);
  answers = [...states];
  expect((await call.status()).state).toBe("succeeded");
  expect(answers).toEqual([]);
  // A page in its place is believed after a while.
  answers = Array.from({ length: 4 }, () => away(404));
  const error = await failureOf(call.status());
  expect(error.rawMessage).toContain("answers 404 (text/html), which is not from a gateway");
});

test("a direct call that was answered by something else may have run", async () => {
  const url = await serve((_request, response) => response.writeHead(502).end("<h1>Bad</h1>"));
  const error = await failureOf(web.clientOf(url).get({}));
  expect(error.code).toBe(Code.Unavailable);
  expect(error.rawMessage).toContain("answers 502 (no content type)");
  expect(mayHaveRun(error)).toBe(true);
});

test("a large request that is being sent is not begun anew when its page is looked at again", async () => {
  await web.worker({ do: ({ text }) => ({ text: String(text.length) }) });
  const { url } = await web.gateway();
  const sending = gate();
  let requests = 0;
  const client = web.clientOf(url, {
    fetch: async (input, init) => {
      requests += Number(String(input).endsWith("/Submit"));
      await sending.opened;
      init?.signal?.throwIfAborted();
      return fetch(input, init);
    },
  });
  const page = new EventTarget();
  const browser = globalThis as { addEventListener?: unknown; removeEventListener?: unknown };
  browser.addEventListener = page.addEventListener.bind(page);
  browser.removeEventListener = page.removeEventListener.bind(page);
  let skipped = 0;
  const { now } = Date;
  vi.spyOn(Date, "now").mockImplementation(() => now() + skipped);
  onTestFinished(() => {
    vi.restoreAllMocks();
    delete browser.addEventListener;
    delete browser.removeEventListener;
  });
  const submitted = client.do.submit({ text: "x".repeat(1024 * 1024) });
  await vi.waitFor(() => expect(requests).toBe(1));
  // On a slow line it takes a minute.
  skipped = 30_000;
  page.dispatchEvent(new Event("online"));
  sending.open();
  expect((await (await submitted).result()).text).toBe(String(1024 * 1024));
  expect(requests).toBe(1);
});
