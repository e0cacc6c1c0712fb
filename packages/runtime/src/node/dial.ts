import { setTimeout as delay } from "node:timers/promises";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { NatsConnection } from "@nats-io/nats-core";
import type { NodeConnectionOptions } from "@nats-io/transport-node";
import { causedError } from "../message/caused-error.js";
import { discardGivenUp } from "./discard-given-up.js";
import { loadOptional } from "./optional-package.js";
import { isAlert, isHangup, refusal } from "./refusal.js";
import type { Settings } from "./settings.js";

/** How long the NATS client may take before the reason is looked for, in ms. */
const impatienceMs = 500;

/**
 * Connects to the first server that takes us. Throws why none does, see {@link whyRefused},
 * and FailedPrecondition when the NATS client for Node is not installed.
 *
 * The NATS client reports the last server's reason only, and takes one that hangs
 * up on us, as after a certificate that it refuses, for one that is silent. So
 * when it is not done at once, each server is tried apart.
 */
export async function dial(settings: Settings): Promise<NatsConnection> {
  const { connect: connectNats } = await loadTransport();
  await discardGivenUp();
  const opening = connectNats(settings.nats);
  const soon = delay(impatienceMs, undefined, { ref: false });
  const opened = await Promise.race([opening, soon]).catch(() => undefined);
  if (opened || settings.nats.waitOnFirstConnect) {
    return opening;
  }
  const reason = await whyRefused(settings);
  if (reason) {
    // It may be taken after all.
    opening.then((late) => late.close()).catch(() => undefined);
    throw reason;
  }
  return opening
    .catch(() => connectNats(settings.nats))
    .catch((cause) => {
      throw refusal(settings, settings.nats.servers.join(", "), cause);
    });
}

function loadTransport() {
  return loadOptional("@nats-io/transport-node", () => import("@nats-io/transport-node"));
}

/**
 * Tries each server by itself. Returns undefined when one takes us, otherwise the
 * reasons of all, with the Code of one that answered:
 *
 * - Unauthenticated: one side does not believe the other's credentials or certificate,
 * - FailedPrecondition: there is no TLS where it is demanded,
 * - Unavailable: none answered as a NATS server.
 */
export async function whyRefused(settings: Settings): Promise<ConnectError | undefined> {
  const reasons = await Promise.all(
    settings.nats.servers.map(async (address) => {
      const cause = await tryServer({ ...settings.nats, servers: address, reconnect: false });
      return cause === taken ? undefined : refusal(settings, address, cause);
    }),
  );
  const refusals = reasons.filter((reason) => reason !== undefined);
  const isSilent = ({ code }: ConnectError) => Number(code === Code.Unavailable);
  const [first, ...others] = refusals.sort((a, b) => isSilent(a) - isSilent(b) || b.code - a.code);
  if (!first || refusals.length < reasons.length) {
    return undefined;
  }
  return others.length === 0
    ? first
    : causedError(
        refusals.map((each) => each.rawMessage).join("; "),
        first.code,
        new AggregateError(refusals),
      );
}

const taken = Symbol("taken");

async function tryServer(options: NodeConnectionOptions): Promise<unknown> {
  const cause = await connectOnce(options);
  if (options.tls && isHangup(cause)) {
    // In TLS 1.3 the server hangs up after the handshake, and the reason is often lost.
    const tls = { ...options.tls, maxVersion: "TLSv1.2" };
    const other = await connectOnce({ ...options, tls });
    return isAlert(other) ? other : cause;
  }
  return cause;
}

/** Returns why it could not connect. */
async function connectOnce(options: NodeConnectionOptions): Promise<unknown> {
  const { connect: connectNats } = await loadTransport();
  try {
    const nats = await connectNats(options);
    await nats.close();
    return taken;
  } catch (cause) {
    return cause;
  }
}
