import { Code, ConnectError } from "@connectrpc/connect";
import { causedError } from "../message/caused-error.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { findDifferences } from "../schema/difference.js";
import { describeInfrastructure, type StreamSettings } from "../schema/infrastructure.js";
import { refuseOtherDomain } from "./domain.js";
import { consumerInfo, createStream, putConsumer, streamInfo } from "./jetstream-admin.js";
import { NoStream } from "./jetstream-error.js";
import type { Link } from "./link.js";
import { isTransient, until } from "./until.js";

/**
 * Makes the streams of a service and the consumers of its durable methods
 * where they are absent, and leaves alone what is as the schema says. What these
 * credentials may not look at is taken to be there: an administrator made it.
 *
 * Throws FailedPrecondition that shows the difference where they are not, or when
 * the account has no JetStream, or another domain has the streams, PermissionDenied for what
 * is absent and may not be made, and Unavailable when JetStream has no leader for 30 s.
 */
export async function provision(
  link: Link,
  service: ServiceBinding,
  methods: Iterable<MethodBinding>,
): Promise<void> {
  await until(link, () => makeAbsent(link, service, methods));
}

/**
 * The same for who has found that something is missing: throws Unavailable, too,
 * when these credentials may not look for it.
 */
export async function provisionMissing(
  link: Link,
  service: ServiceBinding,
  methods: Iterable<MethodBinding>,
): Promise<void> {
  refuseUnseen(service, await makeAbsent(link, service, methods));
}

/** Makes the bucket of a service that is missing. Errors: those of {@link provisionMissing}. */
export async function provisionBucket(link: Link, service: ServiceBinding): Promise<void> {
  const unseen: string[] = [];
  const direct = [...service.methods.values()].filter(({ delivery }) => delivery === "direct");
  await refuseOtherDomain(link, service, direct);
  await ensureStream(link, describeInfrastructure(service).payloads, unseen);
  refuseUnseen(service, unseen);
}

function refuseUnseen(service: ServiceBinding, unseen: readonly string[]): void {
  if (unseen.length > 0) {
    throw new ConnectError(
      `${service.desc.typeName}: one of ${unseen.join(", ")} is missing or has no leader, and these credentials may not look at it: let an administrator run \`jetrpc apply\``,
      Code.Unavailable,
    );
  }
}

const underWay = new WeakMap<Link, Map<object, Promise<void>>>();

/** Many calls may find at once that nothing is there: they share what makes it. */
function once(link: Link, what: object, make: () => Promise<void>): Promise<void> {
  const ofLink = underWay.get(link) ?? new Map<object, Promise<void>>();
  underWay.set(link, ofLink);
  let making = ofLink.get(what);
  if (!making) {
    making = make().finally(() => ofLink.delete(what));
    ofLink.set(what, making);
  }
  return making;
}

/** {@link provisionMissing} for one method. */
export function provisionMissingOnce(link: Link, method: MethodBinding): Promise<void> {
  return once(link, method, () => provisionMissing(link, method.service, [method]));
}

/**
 * Makes the streams of a service for who could not store something in one of them.
 * Throws Unavailable when they are missing and cannot be made: what was to be stored
 * waits for an administrator, and is not lost.
 */
export async function makeStreams(link: Link, service: ServiceBinding): Promise<void> {
  try {
    await once(link, service, () => provisionMissing(link, service, []));
  } catch (error) {
    throw failure("a stream is missing", error, Code.Unavailable);
  }
}

/**
 * Stores something in a stream of a service, which is made when it is missing. Errors: those
 * of `store`, and {@link makeStreams}.
 */
export async function withStreams<T>(
  link: Link,
  service: ServiceBinding,
  store: () => Promise<T>,
): Promise<T> {
  try {
    return await store();
  } catch (error) {
    if (!(error instanceof NoStream)) {
      throw error;
    }
    await makeStreams(link, service);
    return await store();
  }
}

/** Returns the names of what could not be looked at. */
async function makeAbsent(
  link: Link,
  service: ServiceBinding,
  methods: Iterable<MethodBinding>,
): Promise<string[]> {
  const { streams, payloads, consumers } = describeInfrastructure(service);
  const served = new Set(methods);
  const unseen: string[] = [];
  await until(link, () => refuseOtherDomain(link, service, served));
  for (const config of [...streams, payloads]) {
    await ensureStream(link, config, unseen);
  }
  for (const { stream, method, config } of consumers) {
    if (served.has(method)) {
      await ensure(`consumer ${config.name} of stream ${stream}`, unseen, {
        wanted: config,
        look: () => consumerInfo(link, stream, config.name),
        make: () => putConsumer(link, stream, config, "create"),
      });
    }
  }
  return unseen;
}

function ensureStream(link: Link, config: StreamSettings, unseen: string[]): Promise<void> {
  return ensure(`stream ${config.name}`, unseen, {
    wanted: config,
    look: () => streamInfo(link, config.name),
    make: () => createStream(link, config),
  });
}

interface Part {
  readonly wanted: object;
  look(): Promise<{ config: object } | undefined>;
  make(): Promise<void>;
}

async function ensure(what: string, unseen: string[], part: Part): Promise<void> {
  let info: { config: object } | undefined;
  try {
    info = await part.look();
  } catch (error) {
    if (isDenied(error)) {
      unseen.push(what);
      return;
    }
    throw failure(`cannot look at ${what}`, error);
  }
  if (info) {
    refuseDifference(what, part.wanted, info.config);
    return;
  }
  try {
    await part.make();
  } catch (error) {
    throw isDenied(error)
      ? notForThese(what, error)
      : failure(`${what} does not exist, and cannot be made`, error);
  }
}

function refuseDifference(what: string, wanted: object, actual: object): void {
  const differences = findDifferences(wanted, actual).map(
    ({ field, from, to }) => `${field} is ${show(from)}, the schema says ${show(to)}`,
  );
  if (differences.length > 0) {
    throw new ConnectError(
      `${what} differs from the schema: ${differences.join("; ")}. ` +
        "Change the option in the .proto, or what is on the server: `jetrpc apply`.",
      Code.FailedPrecondition,
    );
  }
}

function isDenied(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.PermissionDenied;
}

function notForThese(what: string, cause: unknown): ConnectError {
  return causedError(
    `${what} does not exist, and these credentials may not make it: let an administrator run \`jetrpc apply\``,
    Code.PermissionDenied,
    cause,
  );
}

/** An error that may pass is Unavailable, so that the work is tried again. */
function failure(text: string, cause: unknown, code?: Code): ConnectError {
  const { code: own, rawMessage } = ConnectError.from(cause);
  const kind = code ?? (isTransient(cause) ? Code.Unavailable : own);
  return causedError(`${text}: ${rawMessage}`, kind, cause);
}

function show(value: unknown): string {
  return value === undefined ? "not set" : JSON.stringify(value);
}
