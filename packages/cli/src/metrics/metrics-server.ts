import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { Address } from "../listen-address.js";
import type { Exporter } from "./exporter.js";
import { contentTypes, type Format } from "./samples.js";

/** Serves `/metrics` and `/healthz`. Errors: AlreadyExists when the port is in use, InvalidArgument. */
export async function serveMetrics(exporter: Exporter, { host, port }: Address): Promise<Server> {
  const server = createServer((request, response) => {
    answer(exporter, request, response).catch((error: unknown) => {
      response.writeHead(500, { "Content-Type": "text/plain" }).end(`${String(error)}\n`);
    });
  });
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const isTaken = code === "EADDRINUSE";
    throw new ConnectError(
      isTaken
        ? `${host}:${port} is in use: end what listens there, or give another --listen`
        : `--listen ${host}:${port}: ${String(cause)}`,
      isTaken ? Code.AlreadyExists : Code.InvalidArgument,
      undefined,
      undefined,
      cause,
    );
  }
  return server;
}

/** `http://127.0.0.1:9464/metrics`. */
export function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}/metrics`;
}

/** How long a collection may take, in ms: less than the scraper waits. */
function limitOf(headers: IncomingMessage["headers"]): number | undefined {
  const seconds = Number(headers["x-prometheus-scrape-timeout-seconds"]);
  return seconds > 0 && seconds < 3_600 ? seconds * 800 : undefined;
}

async function answer(
  exporter: Exporter,
  { method = "GET", url = "/", headers }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const plain = { "Content-Type": "text/plain; charset=utf-8" };
  if (method !== "GET" && method !== "HEAD") {
    response.writeHead(405, { ...plain, Allow: "GET, HEAD" }).end("GET only\n");
    return;
  }
  switch (url.split("?")[0]) {
    case "/metrics": {
      const format: Format = headers.accept?.includes("application/openmetrics-text")
        ? "openmetrics"
        : "prometheus";
      const text = await (await exporter.scrape(limitOf(headers))).text(format);
      response.writeHead(200, { "Content-Type": contentTypes[format] }).end(text);
      return;
    }
    case "/healthz":
      // Of the exporter itself: it is to be left alone when the server is away.
      response.writeHead(200, plain).end("ok\n");
      return;
    default:
      response.writeHead(404, plain).end("see /metrics\n");
  }
}
