import { resolve } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { NatsServer } from "@jetrpc/testing";

interface StartOptions {
  /** 0 for any free one. */
  readonly port: number;
  /** Port for browsers; 0 for any free one. */
  readonly websocket?: number | undefined;
  /** Folder that is kept. Default: a temporary one. */
  readonly store?: string | undefined;
  /** Told what is downloaded. */
  readonly report: (line: string) => void;
  /** How another port is given, for the error of one that cannot be had. */
  readonly otherPort: (port: number) => string;
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
  otherPort,
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
      websocket: websocket === 0 ? true : websocket,
    });
    return { running, version };
  } catch (cause) {
    throw startError((cause as Error).message, cause, otherPort);
  }
}

/** The error of a server that has ended at its start, by what it has logged. */
function startError(
  log: string,
  cause: unknown,
  otherPort: StartOptions["otherPort"],
): ConnectError {
  const [, port, reason] = /listen tcp \S+:(\d+): bind: ([^"\n]+)/.exec(log) ?? [];
  const isTaken = reason === "address already in use";
  // The lines before its last word tell what it did until then.
  const fatal = [...log.matchAll(/\[FTL\] (.+)/g)].map(([, text]) => text).join("\n");
  const text = isTaken
    ? `port ${port} of 127.0.0.1 is in use: end what listens there, or ${otherPort(Number(port))}`
    : reason !== undefined
      ? `port ${port} of 127.0.0.1 cannot be used (${reason}): ${otherPort(Number(port))}`
      : fatal && `nats-server does not start: ${fatal}`;
  return new ConnectError(
    text || log,
    isTaken ? Code.AlreadyExists : Code.Unavailable,
    undefined,
    undefined,
    cause,
  );
}
