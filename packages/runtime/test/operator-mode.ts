import { createHash } from "node:crypto";
import { type nkeys as Nkeys, nkeys } from "@nats-io/transport-node";

type KeyPair = ReturnType<typeof Nkeys.createUser>;

/** Limits of an account without JetStream. */
const unlimited = {
  subs: -1,
  data: -1,
  payload: -1,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: -1,
};

/** Seconds since 1970. */
const now = () => Math.floor(Date.now() / 1_000);

/** Operator, account and users of a server that trusts JWTs, as nsc would make them. */
export class OperatorMode {
  private readonly operator = nkeys.createOperator();
  private readonly account = nkeys.createAccount();
  private readonly system = nkeys.createAccount();
  // A server cannot reload another operator.
  private readonly jwt = encode(this.operator, this.operator, { type: "operator", version: 2 });

  /** The server's configuration, in which users that are named by public key are revoked. */
  config(revoked: string[] = []): string {
    const revocations = Object.fromEntries(revoked.map((user) => [user, now() + 60]));
    return `operator: ${this.jwt}
system_account: ${this.system.getPublicKey()}
resolver: MEMORY
resolver_preload: {
  ${this.system.getPublicKey()}: ${this.accountJwt(this.system, {})}
  ${this.account.getPublicKey()}: ${this.accountJwt(this.account, {
    limits: { ...unlimited, mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 },
    revocations,
  })}
}
`;
  }

  private accountJwt(account: KeyPair, more: object): string {
    const claims = { type: "account", version: 2, limits: unlimited, ...more };
    return encode(this.operator, account, claims);
  }

  /** Makes a user: its public key, its JWT, its seed, and its .creds file. */
  user({ expiresAt }: { expiresAt?: number } = {}) {
    const pair = nkeys.createUser();
    const jwt = encode(
      this.account,
      pair,
      { type: "user", version: 2, subs: -1, data: -1, payload: -1 },
      expiresAt,
    );
    const seed = seedOf(pair);
    return { publicKey: pair.getPublicKey(), jwt, seed, creds: credsFile(jwt, seed) };
  }
}

/** The text of a .creds file. */
export function credsFile(jwt: string, seed: string): string {
  return `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`;
}

/** The seed of a key, as text. */
export function seedOf(pair: KeyPair): string {
  return new TextDecoder().decode(pair.getSeed());
}

function encode(issuer: KeyPair, subject: KeyPair, claims: object, exp?: number): string {
  const body = {
    iat: now(),
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    name: "test",
    ...(exp && { exp }),
    nats: claims,
  };
  const jti = createHash("sha256").update(JSON.stringify(body)).digest("hex");
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part({ ...body, jti })}`;
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString("base64url")}`;
}
