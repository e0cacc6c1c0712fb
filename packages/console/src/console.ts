import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@jetrpc/runtime";
import { ActLog } from "./act-log.js";
import type { ConsoleOptions } from "./console-options.js";
import { checkAddress, Hosts } from "./hosts.js";
import { Sampler } from "./sampler.js";
import { pageMissing, Site } from "./site.js";
import { Target } from "./target.js";

/** A console that runs. */
export interface Console {
  /** The address under which browsers reach it. */
  readonly url: string;
  /**
   * An address that begins a session: with a new token, which works once, where there is no
   * login.
   */
  newAddress(): string;
  /** Ends live streams, then all else. */
  close(): Promise<void>;
}

/** How long streams that were told to end have for it, in ms. */
const lingerMs = 1_000;

/**
 * Serves the console. Errors: InvalidArgument for an address that strangers could reach without
 * a login or https, and for a log of acts that cannot be written; AlreadyExists when the port is
 * in use; those of `connect`.
 */
export async function startConsole(options: ConsoleOptions): Promise<Console> {
  const { host = "127.0.0.1", port = 7420, intervalMs = 10_000, log } = options;
  checkAddress(host, options.url, options.login !== undefined);
  const acts = await ActLog.open(options);
  const target = await Target.open(options);
  const sampler = new Sampler(target, options.view, intervalMs);
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (cause) {
    await target.close();
    throw listenError(`${host}:${port}`, cause);
  }
  const address = server.address() as AddressInfo;
  const name = address.family === "IPv6" ? `[${address.address}]` : address.address;
  const url = new URL(options.url ?? `http://${name}:${address.port}`);
  const site = new Site({
    options,
    url,
    hosts: new Hosts(url, address.port),
    target,
    sampler,
    acts,
  });
  server.on("request", (request, response) => void site.answer(request, response));
  await sampler.start();
  log?.(site.isBuilt ? "the console runs" : pageMissing);
  return {
    url: url.origin,
    newAddress: () => site.newAddress(),
    async close() {
      site.end();
      await sampler.stop();
      const closed = once(server, "close");
      server.close();
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), lingerMs);
      await closed;
      clearTimeout(timer);
      await target.close();
    },
  };
}

function listenError(address: string, cause: unknown): ConnectError {
  const isTaken = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
  return new ConnectError(
    isTaken
      ? `${address} is in use: end what listens there, or choose another port`
      : `it cannot listen on ${address}: ${String(cause)}`,
    isTaken ? Code.AlreadyExists : Code.InvalidArgument,
    undefined,
    undefined,
    cause,
  );
}
