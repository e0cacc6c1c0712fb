import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Certificates } from "../../runtime/test/certificates.js";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf } from "../../runtime/test/support.js";
import { useGateway } from "./support.js";

const { nats, gateway } = useGateway();

let files: Certificates;
let ca: Buffer;
beforeAll(() => {
  files = new Certificates(mkdtempSync(join(tmpdir(), "jetrpc-tls-")));
  files.ca("ca");
  files.certificate("first", { by: "ca" });
  files.certificate("second", { by: "ca" });
  files.certificate("other", { by: "ca" });
  ca = readFileSync(files.path("ca.crt"));
});
afterAll(() => rmSync(files.folder, { recursive: true }));

const pair = (name: string) => ({
  cert: files.path(`${name}.crt`),
  key: files.path(`${name}.key`),
});

/** Shakes hands, and tells what came of it. */
async function shake(url: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { port } = new URL(url);
  const socket = connectTls({ host: "127.0.0.1", port: Number(port), ca, ...options });
  await once(socket, "secureConnect");
  socket.end();
  return socket;
}

async function nameOf(url: string): Promise<string> {
  return (await shake(url)).getPeerCertificate().subject.CN as string;
}

test("Connect, gRPC and gRPC-Web by HTTP/1.1 and HTTP/2 over TLS", async () => {
  await nats.worker({
    get: ({ text }) => ({ text: text.toUpperCase() }),
    async *down({ count }) {
      for (let index = 0; index < count; index++) {
        yield { index };
      }
    },
  });
  const { url } = await gateway({ tls: pair("first") });
  expect(url).toMatch(/^https:\/\/127\.0\.0\.1:/);
  const nodeOptions = { ca };
  const transports: Transport[] = [
    createConnectTransport({ baseUrl: url, httpVersion: "1.1", nodeOptions }),
    createConnectTransport({ baseUrl: url, httpVersion: "2", nodeOptions }),
    createGrpcTransport({ baseUrl: url, nodeOptions }),
    createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1", nodeOptions }),
  ];
  for (const transport of transports) {
    const client = createClient(TestService, transport);
    expect((await client.get({ text: "abc" })).text).toBe("ABC");
    expect(await collect(client.down({ count: 3 }))).toHaveLength(3);
  }
  // grpc-js checks what ALPN chose.
  const client = new grpc.Client(new URL(url).host, grpc.credentials.createSsl(ca));
  await new Promise<void>((resolve, reject) =>
    client.waitForReady(Date.now() + 60_000, (error) => (error ? reject(error) : resolve())),
  );
  client.close();
});

test("ALPN chooses HTTP/2 or HTTP/1.1; a client without ALPN speaks HTTP/1.1", async () => {
  const { url } = await gateway({ tls: pair("first"), services: [] });
  const chosen = async (ALPNProtocols?: string[]) =>
    (await shake(url, ALPNProtocols && { ALPNProtocols })).alpnProtocol;
  expect(await chosen(["h2", "http/1.1"])).toBe("h2");
  expect(await chosen(["http/1.1"])).toBe("http/1.1");
  expect(await chosen()).toBe(false);
  await expect(chosen(["spdy/1"])).rejects.toThrow();
  const socket = connectTls({ host: "127.0.0.1", port: Number(new URL(url).port), ca });
  socket.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 OK/);
});

test("old TLS, a stranger's authority and plain HTTP get nothing, and others are served", async () => {
  const { url } = await gateway({ tls: pair("first"), services: [] });
  await expect(
    shake(url, { maxVersion: "TLSv1.1", minVersion: "TLSv1", ciphers: "ALL:@SECLEVEL=0" }),
  ).rejects.toThrow();
  const { port } = new URL(url);
  await expect(shake(url, { ca: [] })).rejects.toThrow();
  const plain = connectPlain(Number(port), "127.0.0.1");
  plain.on("error", () => undefined).resume();
  plain.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  await once(plain, "close");
  expect(await nameOf(url)).toBe("first");
});

test("a client that shakes hands slowly loses its connection, and holds up no drain", async () => {
  const ask = (headersTimeoutMs: number) =>
    gateway({ tls: pair("first"), services: [], limits: { headersTimeoutMs } });
  const open = async (url: string) => {
    const socket = connectPlain(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => undefined).resume();
    await once(socket, "connect");
    return { closed: once(socket, "close") };
  };
  await (await open((await ask(300)).url)).closed;
  // The client has longer than this test.
  const patient = await ask(600_000);
  const { closed } = await open(patient.url);
  await patient.drain();
  await closed;
});

test("certificates are renewed when both files have changed, and streams go on", async () => {
  await nats.worker({
    async *chat(requests) {
      for await (const { text } of requests) {
        yield { text };
      }
    },
  });
  const tls = pair("live");
  const use = (name: string, ...parts: ("cert" | "key")[]) => {
    for (const part of parts) {
      copyFileSync(pair(name)[part], tls[part]);
    }
  };
  use("first", "cert", "key");
  const { url, logged } = await gateway({ tls });
  expect(await nameOf(url)).toBe("first");
  const transport = createGrpcTransport({ baseUrl: url, nodeOptions: { ca } });
  const texts = ["before", "after"];
  const renewed = new Promise<void>((resolve) => {
    void expect
      .poll(() => nameOf(url))
      .toBe("second")
      .then(() => resolve());
  });
  const stream = createClient(TestService, transport).chat(
    (async function* () {
      yield { text: texts[0] as string };
      await renewed;
      yield { text: texts[1] as string };
    })(),
  );
  const heard: string[] = [];
  const all = (async () => {
    for await (const { text } of stream) {
      heard.push(text);
    }
  })();
  await expect.poll(() => heard).toEqual(["before"]);
  // The key is not there yet: the old pair counts.
  use("second", "cert");
  await expect.poll(() => logged.join()).toContain("goes on with the certificate");
  expect(await nameOf(url)).toBe("first");
  use("second", "key");
  await renewed;
  await all;
  expect(heard).toEqual(texts);
  expect(logged.filter((line) => line.includes("goes on with"))).toHaveLength(1);
});

test("PEM text is taken as it is; what cannot be used is named", async () => {
  const { cert, key } = pair("first");
  const tls = { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  const { url } = await gateway({ tls, services: [] });
  expect(await nameOf(url)).toBe("first");
  const refused = async (tls: { cert: string; key: string }) => {
    const error = await failureOf(gateway({ tls, services: [] }));
    expect(error.code).toBe(Code.InvalidArgument);
    return error.rawMessage;
  };
  expect(await refused({ cert: "none.crt", key })).toMatch(/cert cannot be read: .*none\.crt/);
  expect(await refused({ cert, key: "none.key" })).toMatch(/key cannot be read/);
  expect(await refused({ cert, key: pair("other").key })).toMatch(/cannot be used together/);
  expect(await refused({ cert: key, key })).toMatch(/cannot be used together/);
});
