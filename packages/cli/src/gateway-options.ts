import type { ApiToken, Authenticate, GatewayLimits, GatewayOptions } from "@jetrpc/gateway";
import { checkCallId } from "@jetrpc/runtime/caller";
import type { Command } from "commander";
import { UsageError } from "./exit-code.js";
import { checkClaims, checkOneWay } from "./login-ways.js";
import { collect } from "./session.js";
import { readTokenFile } from "./token-file.js";

/** It is loaded for this verb only. */
export const loadGateway = () => import("@jetrpc/gateway");

/** What the command line says of a gateway. */
export interface GatewayArguments {
  readonly tokens?: string;
  readonly jwks?: string;
  readonly issuer?: string;
  readonly audience?: string;
  readonly cors?: string[];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly limit?: string[];
  readonly drainTimeout?: string;
}

/** Secrets are not on the command line, where every process of the machine reads them. */
const jwtSecret = "JETRPC_GATEWAY_JWT_SECRET";
const sessionSecrets = "JETRPC_GATEWAY_SESSION_SECRETS";

/** The variables of secrets, for a text. */
export const gatewaySecrets = `${jwtSecret} or ${sessionSecrets}`;

/** Adds the options of a gateway. */
export function addGatewayOptions(command: Command): Command {
  return command
    .option("--tokens <file>", "JSON file of who may call: see `jetrpc gateway token`")
    .option("--jwks <url>", `public keys of who makes JSON Web Tokens (or ${jwtSecret})`)
    .option("--issuer <iss>", "who has to have made a JSON Web Token")
    .option("--audience <aud>", "whom a JSON Web Token has to be for")
    .option("--cors <origin>", "pages of another origin that may call; repeatable", collect)
    .option("--tls-cert <file>", "certificate for https (PEM); read again when it changes")
    .option("--tls-key <file>", "its private key (PEM)")
    .option("--limit <name=number>", "a limit, as maxMessageBytes=8388608; repeatable", collect)
    .option("--drain-timeout <seconds>", "how long requests may take to end", "30");
}

/** The options of startGateway() that the command line and the environment give. Throws UsageError. */
export async function gatewayOptions(
  args: GatewayArguments,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<GatewayOptions> {
  const secrets = environment[sessionSecrets]?.split(",").filter((each) => each !== "") ?? [];
  const origins = args.cors?.map(originOf);
  return {
    authenticate: await authenticatorOf(args, environment[jwtSecret] || undefined, secrets),
    cors: origins && { origins, credentials: secrets.length > 0 },
    tls: tlsOf(args),
    limits: limitsOf(args.limit ?? []),
    drainTimeoutMs:
      numberOf("--drain-timeout", args.drainTimeout ?? "30", 0, maxTimer / 1000) * 1000,
  };
}

async function authenticatorOf(
  { tokens, jwks, issuer, audience, cors }: GatewayArguments,
  secret: string | undefined,
  secrets: readonly string[],
): Promise<Authenticate | undefined> {
  checkOneWay([
    tokens !== undefined && "--tokens",
    jwks !== undefined && "--jwks",
    secret !== undefined && jwtSecret,
  ]);
  checkClaims({ jwks, issuer, audience }, secret, jwtSecret);
  const { apiTokens, bearerJwt, cookieSession } = await loadGateway();
  const bearer =
    tokens !== undefined
      ? apiTokens(
          readTokenFile(tokens, isToken, '{"sha256", "owner", "methods"}', "jetrpc gateway token"),
        )
      : jwks !== undefined || secret !== undefined
        ? bearerJwt({ jwks, secret, issuer, audience })
        : undefined;
  if (secrets.length === 0) {
    return bearer;
  }
  const session = cookieSession({ secrets, origins: cors?.map(originOf) });
  const either: Authenticate = async (request) =>
    (await bearer?.(request)) ?? (await session(request));
  return Object.assign(either, {
    securitySchemes: { ...session.securitySchemes, ...bearer?.securitySchemes },
  });
}

function originOf(text: string): string {
  if (text !== "*" && (!URL.canParse(text) || new URL(text).origin !== text)) {
    throw new UsageError(`--cors ${text} is no origin: give one like https://app.example.com`);
  }
  return text;
}

function tlsOf({ tlsCert, tlsKey }: GatewayArguments): GatewayOptions["tls"] {
  if (tlsCert === undefined && tlsKey === undefined) {
    return undefined;
  }
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UsageError("https needs both: give --tls-cert and --tls-key");
  }
  return { cert: tlsCert, key: tlsKey };
}

/** Timers of Node take no more ms. */
const maxTimer = 2 ** 31 - 1;

/** The limits by their names, and the least that each may be. */
const leastLimits: Readonly<Record<keyof GatewayLimits, number>> = {
  maxMessageBytes: 1,
  maxBlobBytes: 1,
  maxHeaderBytes: 1024,
  headersTimeoutMs: 1,
  bodyTimeoutMs: 1,
  writeTimeoutMs: 1,
  maxConnections: 1,
  maxOwners: 1,
  maxConcurrentCalls: 1,
  maxCallsPerSecond: 1,
};

function limitsOf(args: readonly string[]): Partial<GatewayLimits> {
  const limits: Partial<Record<keyof GatewayLimits, number>> = {};
  for (const arg of args) {
    const [name = "", value = ""] = arg.split("=", 2);
    if (!Object.hasOwn(leastLimits, name)) {
      const names = Object.keys(leastLimits).join(", ");
      throw new UsageError(`--limit ${arg} names no limit: there are ${names}`);
    }
    const limit = name as keyof GatewayLimits;
    limits[limit] = numberOf(
      `--limit ${name}`,
      value,
      leastLimits[limit],
      name.endsWith("Ms") ? maxTimer : Number.MAX_SAFE_INTEGER,
    );
  }
  return limits;
}

function numberOf(option: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < least || number > most) {
    throw new UsageError(
      `${option} is ${JSON.stringify(text)}: give a whole number from ${least} to ${Math.floor(most)}`,
    );
  }
  return number;
}

function isToken(value: unknown): value is ApiToken {
  const { sha256, owner, methods, ...others } = (value ?? {}) as Record<string, unknown>;
  return (
    typeof sha256 === "string" &&
    isOwner(owner) &&
    // A mistyped "methods" would be a right to call all.
    Object.keys(others).length === 0 &&
    (methods === undefined || (Array.isArray(methods) && methods.every(isCallable)))
  );
}

/** True for what can be the full name of a service, `pdf.v1.PdfService`, or of a method, `pdf.v1.PdfService/Split`. */
export function isCallable(name: unknown): name is string {
  return typeof name === "string" && /^[a-z_]\w*(\.[a-z_]\w*)*(\/[a-z_]\w*)?$/i.test(name);
}

/** True for what may own durable calls: an owner is written as a call id is. */
export function isOwner(owner: unknown): owner is string {
  try {
    return checkCallId(owner as string) === owner;
  } catch {
    return false;
  }
}
