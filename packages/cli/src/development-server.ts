import { resolve } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { NatsServer } from "@jetrpc/testing";

interface StartOptions {
  readonly port: number;
  /** Port for browsers. */
  readonly websocket?: number | undefined;
  /** Folder that is kept. Default: a temporary one. */
  readonly store?: string | undefined;
  /** Told what is downloaded. */
  readonly report: (line: string) => void;
}

/**
 * Finds or fetches a nats-server, and starts it on 127.0.0.1. It ends with this process. Throws
 * Unimplemented where there is none for this system, AlreadyExists when a port is in use, Unavailable.
 */
export async function startServer({
  port,
  websocket,
  store,
  report,
}: StartOptions): Promise<{ running: NatsServer; version: string }> {
  const { findNatsServer, startNats } = await import("@jetrpc/testing").catch((cause) => {
    const text =
      "this starts a nats-server on Linux and macOS only: run one by its installer here, and name it by NATS_URL";
    throw new ConnectError(text, Code.Unimplemented, undefined, undefined, cause);
  });
  const { path: binary, version } = await findNatsServer({
    onProgress: (line) => {
      // Where it was looked for in vain is of interest when it is nowhere: the error tells.
      if (!/^(NATS_SERVER_BIN|PATH|cache): /.test(line)) {
        report(line);
      }
    },
  });
  try {
    const running = await startNats({
      binary,
      port,
      storeDir: store === undefined ? undefined : resolve(store),
      websocket,
    });
    return { running, version };
  } catch (cause) {
    const text = (cause as Error).message;
    const isTaken = /address already in use/.test(text);
    throw new ConnectError(
      isTaken
        ? `port ${port} of 127.0.0.1${websocket === undefined ? "" : ` or ${websocket}`} is in use: end what listens there, or give another one by --port or --websocket`
        : text,
      isTaken ? Code.AlreadyExists : Code.Unavailable,
      undefined,
      undefined,
      cause,
    );
  }
}
