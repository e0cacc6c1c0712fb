import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { startNats } from "@jetrpc/testing";
import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startWorker } from "../examples/pdf-demo/worker-process.js";
import { hasChromium, launchChromium } from "./chromium.js";

const document = join(import.meta.dirname, "../services/pdf/fixtures/three-pages.pdf");

/** What a page uses of the packages, in one file. */
async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: `
        export { createConnection } from "@jetrpc/runtime";
        export { connectGateway } from "@jetrpc/web";
        export { createPdfClient } from "@jetrpc-examples/pdf-v1-client";
        export { wsconnect } from "@nats-io/nats-core";`,
      resolveDir: import.meta.dirname,
    },
    bundle: true,
    format: "iife",
    globalName: "jetrpc",
    platform: "browser",
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}

/** The names of the bundle, as a page has them. */
interface Packages {
  createConnection: typeof import("@jetrpc/runtime").createConnection;
  connectGateway: typeof import("@jetrpc/web").connectGateway;
  createPdfClient: typeof import("@jetrpc-examples/pdf-v1-client").createPdfClient;
  wsconnect: typeof import("@nats-io/nats-core").wsconnect;
}

declare const jetrpc: Packages;

describe.skipIf(!hasChromium)("in a browser", () => {
  let browser: Browser;
  let code: string;

  // Of a page, and of something that is no gateway.
  const server = createServer(({ url }, response) => {
    if (url === "/") {
      response.setHeader("content-type", "text/html").end("<!doctype html><title>A page</title>");
    } else {
      response.writeHead(302, { location: "/" }).end();
    }
  });

  beforeAll(async () => {
    [browser, code] = await Promise.all([launchChromium(), bundle()]);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterAll(async () => {
    await browser?.close();
    server.close();
    server.closeAllConnections();
  });

  /** A page with the bundle. */
  async function open(): Promise<Page> {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.addScriptTag({ content: code });
    return page;
  }

  test("a page calls, submits, follows and cancels over WebSocket", async () => {
    await using nats = await startNats({ websocket: true });
    await using _worker = await startWorker(nats.url);
    const page = await open();
    const bytes = [...(await readFile(document))];
    const got = await page.evaluate(
      async ({ servers, bytes }) => {
        const connection = jetrpc.createConnection(await jetrpc.wsconnect({ servers }));
        const pdf = jetrpc.createPdfClient(connection);
        const document = Uint8Array.from(bytes);
        const { pageCount } = await pdf.getInfo({ document });
        const call = await pdf.extractText.submit({ document });
        const pages: number[] = [];
        for await (const { page } of pdf.extractText.attach(call.id)) {
          pages.push(page);
        }
        const later = await pdf.extractText.submit(
          { document },
          { notBefore: new Date(Date.now() + 3.6e6) },
        );
        const isCanceled = await later.cancel();
        const { state } = await later.status();
        await connection.close();
        return { pageCount, pages, isCanceled, state };
      },
      { servers: nats.websocketUrl ?? "", bytes },
    );
    expect(got).toEqual({ pageCount: 3, pages: [1, 2, 3], isCanceled: true, state: "cancelled" });
  });

  test("an address that redirects is told at once, though browsers hide where it leads", async () => {
    const page = await open();
    const message = await page.evaluate(async () => {
      const pdf = jetrpc.createPdfClient(jetrpc.connectGateway());
      return pdf.getInfo({}).then(String, String);
    });
    expect(message).toContain(
      "[unavailable] the gateway answers with a redirect to elsewhere, which is not from a gateway",
    );
  });
});
