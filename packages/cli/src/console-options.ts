import type { ConsoleOptions, Role } from "@jetrpc/console";
import type { Identity } from "@jetrpc/gateway";
import { type Command, Option } from "commander";
import { askJetStream } from "./doctor/jetstream.js";
import { UsageError } from "./exit-code.js";
import { loadGateway } from "./gateway-options.js";
import { onHost } from "./host.js";
import { addressOf, portOf } from "./listen-address.js";
import { checkClaims, checkOneWay } from "./login-ways.js";
import { findWorkers } from "./running-workers.js";
import { describedSchema, hasSchema, loadSchema } from "./schema.js";
import { collect, open, type SessionOptions } from "./session.js";
import { showSetting } from "./show-plan.js";
import { readTokenFile } from "./token-file.js";

/** It is loaded for this verb only. */
export const loadConsole = () => import("@jetrpc/console");

/** What the command line says of a console. */
export interface ConsoleArguments extends SessionOptions {
  readonly listen?: string;
  readonly port?: string;
  readonly url?: string;
  readonly mask?: boolean;
  readonly actLog?: string;
  readonly tokens?: string;
  readonly jwks?: string;
  readonly issuer?: string;
  readonly audience?: string;
  readonly oidcIssuer?: string;
  readonly oidcClient?: string;
  readonly act?: string[];
  readonly read?: string[];
  readonly dev?: boolean;
}

/** Secrets are not on the command line, where every process of the machine reads them. */
const oidcSecret = "JETRPC_CONSOLE_OIDC_SECRET";
const jwtSecret = "JETRPC_CONSOLE_JWT_SECRET";

type Environment = Readonly<Record<string, string | undefined>>;

/** A token of a file, and what its bearer may do. */
export interface ConsoleToken {
  readonly sha256: string;
  readonly name: string;
  readonly role: Role;
}

/** Adds the options of a console. */
export function addConsoleOptions(command: Command): Command {
  return command
    .option("--port <number>", "port on 127.0.0.1; 0 for any", "7420")
    .option("--listen <address>", "where it listens instead, as 0.0.0.0:7420; needs a login")
    .option("--url <address>", "under which browsers reach it: that of a proxy with https")
    .option("--mask", "hide values of requests and responses from the role read")
    .option("--act-log <file>", "add each act to a file, as a line of JSON (default: stderr)")
    .option("--oidc-issuer <url>", "log in at this provider of OpenID Connect")
    .option("--oidc-client <id>", `id of the console there; its secret is ${oidcSecret}`)
    .option("--tokens <file>", "JSON file of who may log in: see `jetrpc console token`")
    .option("--jwks <url>", `public keys of who makes JSON Web Tokens (or ${jwtSecret})`)
    .option("--issuer <iss>", "who has to have made a JSON Web Token")
    .option("--audience <aud>", "whom a JSON Web Token has to be for")
    .option("--act <claim=value>", "who may act, as groups=operators; repeatable", collect)
    .option("--read <claim=value>", "who may look; repeatable (default: who is known)", collect)
    .addOption(new Option("--dev", "it is run by `jetrpc dev`").hideHelp());
}

/** The options of startConsole() that the command line and the environment give. Throws UsageError. */
export async function consoleOptions(
  args: ConsoleArguments,
  environment: Environment,
): Promise<ConsoleOptions> {
  const { host, port } =
    args.listen === undefined
      ? { host: "127.0.0.1", port: portOf(args.port ?? "7420", "--port") }
      : addressOf(args.listen);
  const login = await loginOf(args, environment);
  const schema = (await hasSchema(args)) ? await loadSchema(args) : undefined;
  return {
    host,
    port,
    login,
    url: args.url,
    mask: args.mask,
    actLog: args.actLog,
    connect: onHost(() => open(args)),
    schema: onHost(
      async (connection) => schema ?? (await describedSchema(connection, args.service)),
    ),
    view: { findWorkers, askJetStream, showSetting },
  };
}

async function loginOf(
  args: ConsoleArguments,
  environment: Environment,
): Promise<ConsoleOptions["login"]> {
  const { tokens, jwks, issuer, audience, oidcIssuer, oidcClient } = args;
  const secret = environment[jwtSecret] || undefined;
  checkOneWay([
    oidcIssuer !== undefined && "--oidc-issuer",
    tokens !== undefined && "--tokens",
    jwks !== undefined && "--jwks",
    secret !== undefined && jwtSecret,
  ]);
  if ((oidcIssuer === undefined) !== (oidcClient === undefined)) {
    throw new UsageError(
      "a login by OpenID Connect needs both: give --oidc-issuer and --oidc-client",
    );
  }
  checkClaims(args, secret, jwtSecret);
  const isJwt = jwks !== undefined || secret !== undefined;
  if (!isJwt && oidcIssuer === undefined && (args.act ?? args.read) !== undefined) {
    throw new UsageError("--act and --read are of claims: give --oidc-issuer or --jwks, too");
  }
  const role = roleByClaims(args);
  if (oidcIssuer !== undefined && oidcClient !== undefined) {
    if (!URL.canParse(oidcIssuer)) {
      throw new UsageError(`--oidc-issuer ${oidcIssuer} is no address`);
    }
    const clientSecret = environment[oidcSecret] || undefined;
    return { issuer: oidcIssuer, clientId: oidcClient, clientSecret, role };
  }
  const [{ apiTokens, bearerJwt, ownerOf }, { readMethods }] = await Promise.all([
    loadGateway(),
    loadConsole(),
  ]);
  const identity = (name: string, its: Role | undefined): Identity | undefined =>
    its && { name, owner: ownerOf(name), ...(its === "read" && { methods: readMethods }) };
  if (tokens !== undefined) {
    const fields = '{"sha256", "name", "role"}';
    const known = readTokenFile(tokens, isToken, fields, "jetrpc console token");
    return {
      authenticate: apiTokens(
        known.map(({ sha256, name, role: its }) => ({ sha256, ...identity(name, its) })),
      ),
    };
  }
  return isJwt
    ? {
        authenticate: bearerJwt({
          ...{ jwks, secret, issuer, audience },
          identity: (claims) => identity(nameOf(claims), role(claims)),
        }),
      }
    : undefined;
}

type Claims = Readonly<Record<string, unknown>>;

function nameOf({ email, name, sub }: Claims): string {
  return String([email, name, sub].find((each) => typeof each === "string" && each !== "") ?? "");
}

/** Reads `--act` and `--read`. Throws UsageError for one without a claim or a value. */
function roleByClaims({ act = [], read }: ConsoleArguments): (claims: Claims) => Role | undefined {
  const [actors, readers] = [act.map(ruleOf), read?.map(ruleOf)];
  return (claims) => {
    const fits = ([claim, value]: readonly [string, string]) => {
      const its = claimOf(claims, claim);
      return Array.isArray(its) ? its.includes(value) : String(its ?? "") === value;
    };
    return actors.some(fits) ? "act" : !readers || readers.some(fits) ? "read" : undefined;
  };
}

function ruleOf(text: string): readonly [string, string] {
  const [, claim, value] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (claim === undefined || value === undefined) {
    throw new UsageError(`${text} is no claim with a value: give one like groups=operators`);
  }
  return [claim, value];
}

/** A claim; one within others by dots, as `realm_access.roles`. */
function claimOf(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) {
    return claims[path];
  }
  return path
    .split(".")
    .reduce<unknown>(
      (value, name) =>
        typeof value === "object" && value !== null && Object.hasOwn(value, name)
          ? (value as Claims)[name]
          : undefined,
      claims,
    );
}

function isToken(value: unknown): value is ConsoleToken {
  const { sha256, name, role, ...others } = (value ?? {}) as Record<string, unknown>;
  return (
    typeof sha256 === "string" &&
    typeof name === "string" &&
    (role === "read" || role === "act") &&
    Object.keys(others).length === 0
  );
}
