import type { DescService } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import {
  type ConfiguredAccount,
  createUserKey,
  type Grant,
  inboxPrefixOf,
  type Permissions,
  permissionsOf,
  toServerConfig,
  type UserKey,
} from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { nkeyAuthenticator } from "@nats-io/nats-core";
import { describeInfrastructure } from "../src/schema/infrastructure.js";

/**
 * Set where the same tests run once more, with users who may do what their role needs
 * and nothing else: then the administrator makes the streams.
 */
export const isSecured = process.env["JETRPC_TEST_SECURED"] === "1";

/** May do everything: sets the stage, and does what tests do by hand. */
const root: Permissions = {
  publish: { allow: [">"], deny: [] },
  subscribe: { allow: [">"], deny: [] },
};

/** Users of a test's server, with keys of their own. */
export class TestUsers {
  private readonly users = new Map<string, { key: UserKey; permissions: Permissions }>();

  constructor(
    grants: Readonly<Record<string, readonly Grant[]>>,
    private readonly account = "JETRPC",
  ) {
    this.add("root", root);
    for (const [name, each] of Object.entries(grants)) {
      this.add(name, permissionsOf({ name, grants: each }));
    }
  }

  get accounts(): ConfiguredAccount[] {
    const users = [...this.users].map(([name, { key, permissions }]) => ({
      name,
      publicKey: key.publicKey,
      permissions,
    }));
    return [{ name: this.account, users }];
  }

  /** For nats-server.conf. */
  get config(): string {
    return toServerConfig(this.accounts);
  }

  /** Options of the NATS client. */
  options(name: string) {
    const seed = new TextEncoder().encode(this.get(name).key.seed);
    return { authenticator: nkeyAuthenticator(seed), inboxPrefix: inboxPrefixOf(name) };
  }

  /** The same for a process. */
  environment(name: string): Record<string, string> {
    const { seed } = this.get(name).key;
    return { NATS_NKEY_SEED: seed, NATS_INBOX_PREFIX: inboxPrefixOf(name) };
  }

  private add(name: string, permissions: Permissions): void {
    this.users.set(name, { key: createUserKey(), permissions });
  }

  private get(name: string) {
    const user = this.users.get(name);
    if (!user) {
      throw new Error(`the test's server has no user ${name}`);
    }
    return user;
  }
}

/** Also when the server has not yet removed the files of a stream of that name from disk. */
const STORE_FAILED = 10049;

/** What a server tells of a stream. */
export interface StreamInfo {
  readonly config: { readonly name: string };
  readonly state: { readonly last_seq: number; readonly consumer_count: number };
}

/** All streams of an account. */
export async function listStreams({ nats }: Connection): Promise<readonly StreamInfo[]> {
  const reply = await nats.request("$JS.API.STREAM.LIST", "{}", { timeout: 60_000 });
  return (reply.json() as { streams?: StreamInfo[] | null }).streams ?? [];
}

/** Does what `jetrpc apply` does: the others may not. What is present stays. */
export async function makeStreams(
  { nats }: Connection,
  services: readonly DescService[],
  present: ReadonlySet<string> = new Set(),
): Promise<void> {
  const create = async (api: string, config: object) => {
    for (let tries = 1; ; tries++) {
      const reply = await nats.request(`$JS.API.${api}`, JSON.stringify(config), {
        timeout: 60_000,
      });
      const { error } = reply.json() as { error?: { err_code: number } };
      if (!error) {
        return;
      }
      if (error.err_code !== STORE_FAILED || tries === 50) {
        throw new Error(`${api}: ${JSON.stringify(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  for (const service of services) {
    const { streams, payloads, consumers } = describeInfrastructure(bindService(service));
    for (const config of [...streams, payloads].filter(({ name }) => !present.has(name))) {
      await create(`STREAM.CREATE.${config.name}`, config);
    }
    for (const { stream, config } of consumers.filter((each) => !present.has(each.stream))) {
      await create(`CONSUMER.CREATE.${stream}.${config.name}`, { stream_name: stream, config });
    }
  }
}
