import type { DescService } from "@bufbuild/protobuf";
import { type ConnectionOptions, startWorker, type WorkerImpl } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { afterEach } from "vitest";
import { useNats } from "../../runtime/test/support.js";
import { type Gateway, type GatewayOptions, startGateway } from "../src/index.js";

/** A nats-server for the tests of a file, and gateways and workers that end with their test. */
export function useGateway() {
  const nats = useNats();
  const open: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) {
      await close();
    }
  });
  return {
    nats,
    /** What the gateways of the test said. */
    async gateway(options: GatewayOptions = {}): Promise<Gateway & { logged: string[] }> {
      const logged: string[] = [];
      const gateway = await startGateway({
        port: 0,
        connect: (owner) => connectAs(nats.server.url, { owner }),
        log: (message) => logged.push(message),
        drainTimeoutMs: 1_000,
        ...options,
      });
      open.push(() => gateway.drain());
      return Object.assign(gateway, { logged });
    },
    /** A worker of any service. */
    async worker<S extends DescService>(service: S, impl: Partial<WorkerImpl<S>>): Promise<void> {
      const connection = await nats.connect();
      const worker = await startWorker(service, impl, connection, { drainTimeoutMs: 1_000 });
      open.push(() => worker.drain());
    },
  };
}

/** Connects to a server as somebody. */
function connectAs(url: string, options: ConnectionOptions) {
  return connect({ ...options, nats: { servers: url } });
}

/** Sends JSON, as curl does. */
export function postJson(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}
