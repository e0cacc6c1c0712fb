import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import type { NatsConnection } from "@nats-io/nats-core";
import { error, type Finding, ok, warning } from "./finding.js";
import { type AccountInfo, askJetStream } from "./jetstream.js";

/** From which part of a limit on it is nearly used up. */
const nearlyFull = 0.8;

/** Below this many bytes even small messages go through the object store. */
const smallPayload = 65_536;

/** Looks at the server that was reached, and at its greatest message. */
export function checkServer({ info }: NatsConnection): Finding[] {
  const { version, max_payload = 0 } = info ?? {};
  return [
    ok(`nats-server ${version}`),
    max_payload < smallPayload
      ? warning(
          `max_payload is ${bytes(max_payload)}: what is larger takes the detour of the object store`,
          "raise max_payload in nats-server.conf: 1MB is its default",
        )
      : ok(`max_payload is ${bytes(max_payload)}`),
  ];
}

/** The result of a look at an account. */
interface AccountCheck {
  readonly findings: Finding[];
  /** False when nothing else can be found out. */
  readonly hasJetStream: boolean;
}

/** Looks at JetStream, and at what the account has used up. */
export async function checkAccount(connection: Connection): Promise<AccountCheck> {
  let account: AccountInfo | undefined;
  try {
    account = await askJetStream<AccountInfo>(connection, "INFO");
  } catch (cause) {
    const { code, rawMessage } = ConnectError.from(cause);
    if (code === Code.PermissionDenied) {
      const finding = warning(
        "these credentials may not ask about the account: its limits are not checked",
        "run it as an administrator, too",
      );
      return { findings: [finding], hasJetStream: true };
    }
    const finding = error(
      `JetStream cannot be used: ${rawMessage}`,
      "enable it in nats-server.conf (`jetstream { store_dir: … }`), and for the account (`jetstream: enabled`)",
    );
    return { findings: [finding], hasJetStream: false };
  }
  return { findings: account ? checkLimits(account) : [], hasJetStream: true };
}

function checkLimits({ limits, ...account }: AccountInfo): Finding[] {
  return [
    ok("JetStream answers"),
    checkLimit("storage", account.storage, limits.max_storage, bytes),
    checkLimit("memory", account.memory, limits.max_memory, bytes),
    checkLimit("streams", account.streams, limits.max_streams),
    checkLimit("consumers", account.consumers, limits.max_consumers),
  ];
}

function checkLimit(
  what: string,
  used: number,
  limit: number,
  show: (value: number) => string = String,
): Finding {
  if (limit < 0) {
    return ok(`${what}: ${show(used)} used, the account has no limit`);
  }
  const title = `${what}: ${show(used)} of ${show(limit)} used`;
  return used < limit * nearlyFull || limit === 0
    ? ok(title)
    : (used < limit ? warning : error)(
        title,
        `raise the account's limit, or remove what is not needed: calls are refused when it is reached`,
      );
}

function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(value, 1)) / 10), units.length - 1);
  return `${Number((value / 1024 ** power).toFixed(1))} ${units[power]}`;
}
