import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, type Connection } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import {
  createPdfClient,
  ImageFormat,
  type PdfClient,
  PdfService,
} from "@jetrpc-examples/pdf-v1-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startWorker, type WorkerProcess } from "../examples/pdf-demo/worker-process.js";
import { isSecured, makeStreams, TestUsers } from "../packages/runtime/test/secured.js";
import { chance } from "./chance.js";

/** PdfService as an app meets it: worker processes, NATS between, the generated client. */
let nats: NatsServer;
let worker: WorkerProcess;
let connection: Connection;
let pdf: PdfClient;

const service = PdfService;
const users = isSecured
  ? new TestUsers({
      worker: [{ role: "worker", service }],
      client: [{ role: "client", service, owner: "_" }],
    })
  : undefined;

function connectAs(user: "root" | "client", { url }: NatsServer): Promise<Connection> {
  return connect({ nats: { servers: url, ...users?.options(user) } });
}

function startWorkerOf({ url }: NatsServer, options: { waits?: boolean } = {}) {
  return startWorker(url, { ...options, env: users?.environment("worker") ?? {} });
}

async function startServer(): Promise<NatsServer> {
  const server = await startNats(users ? { config: users.config } : {});
  if (users) {
    const root = await connectAs("root", server);
    await makeStreams(root, [service]);
    await root.close();
  }
  return server;
}

beforeAll(async () => {
  nats = await startServer();
  worker = await startWorkerOf(nats);
  connection = await connectAs("client", nats);
  pdf = createPdfClient(connection);
});

afterAll(async () => {
  await connection?.close();
  await worker?.[Symbol.asyncDispose]();
  await nats?.stop();
});

function fixture(name: string): Uint8Array {
  return readFileSync(join(import.meta.dirname, "../services/pdf/fixtures", name));
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

const document = fixture("demo.pdf");

describe("every method over NATS", () => {
  test("GetInfo", async () => {
    const info = await pdf.getInfo({ document });
    expect(info).toMatchObject({
      title: "A Field Guide to the Numbers",
      encrypted: false,
      pdfVersion: "1.3",
    });
    expect(info.pages).toHaveLength(info.pageCount);
  });

  test("ExtractText, of the pages asked for and in their order", async () => {
    const pages = [
      { first: 3, last: 4 },
      { first: 1, last: 1 },
    ];
    const texts = await collect(pdf.extractText({ document, pages }));
    expect(texts.map((t) => t.page)).toEqual([3, 4, 1]);
    expect(texts[2]?.text).toContain("A Field Guide to the Numbers");
  });

  test.each([
    ["PNG", ImageFormat.PNG, [0x89, 0x50, 0x4e, 0x47]],
    ["JPEG", ImageFormat.JPEG, [0xff, 0xd8, 0xff]],
    ["WebP", ImageFormat.WEBP, [0x52, 0x49, 0x46, 0x46]],
  ] as const)("RenderPages as %s", async (_name, format, magic) => {
    const request = { document, pages: [{ first: 2, last: 3 }], dpi: 72, format };
    const images = await collect(pdf.renderPages(request));
    expect(images.map((i) => [i.page, i.format])).toEqual([
      [2, format],
      [3, format],
    ]);
    for (const { image, width, height } of images) {
      expect([...image.subarray(0, magic.length)]).toEqual([...magic]);
      expect(width * height).toBeGreaterThan(10_000);
    }
  });

  test("RenderPages above max_payload", async () => {
    const request = { document, pages: [{ first: 1, last: 1 }], dpi: 600 };
    const [image] = await collect(pdf.renderPages({ ...request, format: ImageFormat.PNG }));
    expect(image?.width).toBeGreaterThan(4_000);
    expect([...(image?.image.subarray(1, 4) ?? [])]).toEqual([0x50, 0x4e, 0x47]);
  });

  test("Split and Merge", async () => {
    const ranges = [
      { first: 1, last: 2 },
      { first: 5, last: 0 },
    ];
    const { documents } = await pdf.split({ document, ranges });
    expect(documents).toHaveLength(2);
    const merged = await pdf.merge({ sources: documents.map((d) => ({ document: d })) });
    const all = await pdf.getInfo({ document });
    const info = await pdf.getInfo({ document: merged.document });
    expect(info.pageCount).toBe(all.pageCount - 2);
  });

  test("with a password", async () => {
    const encrypted = fixture("encrypted.pdf");
    const info = await pdf.getInfo({ document: encrypted, password: "open sesame" });
    expect(info.encrypted).toBe(true);
  });
});

describe("every error, at once and without a retry", () => {
  const cases: [string, string, { password?: string; pages?: object[]; dpi?: number }, Code][] = [
    ["an encrypted document without password", "encrypted.pdf", {}, Code.FailedPrecondition],
    ["a wrong password", "encrypted.pdf", { password: "wrong" }, Code.PermissionDenied],
    ["a truncated document", "truncated.pdf", {}, Code.InvalidArgument],
    ["what is no PDF", "garbage.pdf", {}, Code.InvalidArgument],
    ["no bytes at all", "empty.pdf", {}, Code.InvalidArgument],
    ["a page beyond the last", "demo.pdf", { pages: [{ first: 9_999 }] }, Code.OutOfRange],
    ["page 0", "demo.pdf", { pages: [{ first: 0, last: 1 }] }, Code.OutOfRange],
    ["too many pixels", "huge-page.pdf", { dpi: 600 }, Code.ResourceExhausted],
    ["a document that kills its thread", "crash.pdf", {}, Code.InvalidArgument],
  ];

  test.each(cases)("%s (%s)", async (_what, name, options, code) => {
    const call = await pdf.renderPages.submit({ document: fixture(name), ...options });
    const error = await collect(call).catch((e: unknown) => e);
    expect(error).toMatchObject({ code });
    expect(await call.status()).toMatchObject({ state: "failed", attempts: [{ attempt: 1 }] });
  });

  test("leaves the worker unharmed", async () => {
    expect((await pdf.getInfo({ document })).pageCount).toBeGreaterThan(100);
  });
});

describe("kill -9 of the worker at a random page", () => {
  test.each(["extractText", "renderPages"] as const)("of %s", async (method) => {
    await using server = await startServer();
    await using first = await startWorkerOf(server);
    const [one, two] = [await connectAs("client", server), await connectAs("client", server)];
    try {
      const request = { document, dpi: 20, pages: [{ first: 1, last: 200 }] };
      const call = await createPdfClient(one)[method].submit(request, { callId: "cut" });
      const attached = collect<{ page: number }>(createPdfClient(two)[method].attach("cut"));
      await using second = await startWorkerOf(server, { waits: true });
      const killAt = 1 + chance()(198);
      const seen: number[] = [];
      for await (const { page } of call as AsyncIterable<{ page: number }>) {
        seen.push(page);
        if (seen.length === killAt) {
          await first.kill();
          await second.ready;
        }
      }
      const all = Array.from({ length: 200 }, (_, index) => index + 1);
      expect(seen).toEqual(all);
      expect((await attached).map((p) => p.page)).toEqual(all);
    } finally {
      await one.close();
      await two.close();
    }
  });
});
