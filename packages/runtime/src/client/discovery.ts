import { createFileRegistry, type DescService } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { type Connection, internalsOf } from "../connection.js";
import { defaultTimeoutMs, firstInfo, gather, parseReply } from "../link/gather.js";
import { isNoResponders, type Link } from "../link/link.js";
import { sendRequest } from "../link/request.js";
import { causedError } from "../message/caused-error.js";
import { decode } from "../message/codec.js";
import { Header, HeaderBlock, quote, wholeNumber } from "../message/header.js";
import { decodeStatus, isStatus } from "../message/status.js";
import { Discovery, discoverySubject, type InfoReply, microName } from "../schema/micro-names.js";

/** Options of what asks the running workers. */
export interface DiscoveryOptions {
  /** How long their answers are waited for, in ms. Default: 500. */
  timeoutMs?: number | undefined;
}

/** A running worker of a service. */
export interface ServiceInfo {
  /** Full name of the service: `pdf.v1.PdfService`. */
  readonly typeName: string;
  /** Identifies the worker. */
  readonly id: string;
  /** Version that the worker was given. */
  readonly version: string;
  readonly status: "SERVING" | "NOT_SERVING";
  /** The methods that it implements, or as many of some thousands as its answer has room for. */
  readonly methods: readonly MethodInfo[];
  /** How many methods it implements. */
  readonly methodCount: number;
}

/** A method that a worker implements. */
export interface MethodInfo {
  readonly name: string;
  readonly kind: string;
  readonly delivery: "direct" | "durable";
  /** Full names of the messages. */
  readonly input: string;
  readonly output: string;
}

/**
 * Lists the running workers of all services, by NATS micro (ADR-32): those that
 * answer in time. Throws Unavailable when the connection is lost.
 */
export async function listServices(
  connection: Connection,
  { timeoutMs = defaultTimeoutMs }: DiscoveryOptions = {},
): Promise<ServiceInfo[]> {
  const services: ServiceInfo[] = [];
  await gather(internalsOf(connection).link, discoverySubject("INFO"), timeoutMs, (message) => {
    const info = parseReply(message);
    if (info?.metadata[Discovery.service]) {
      services.push(toServiceInfo(info));
    }
    return false;
  });
  return services.sort((a, b) => compare(a.typeName, b.typeName) || compare(a.id, b.id));
}

/**
 * Gets the descriptor of a service from a running worker: a client of it needs no
 * .proto and no generated code.
 *
 * Throws Unavailable when no worker of the service answers, Internal when what it gives
 * are no descriptors of the service.
 */
export async function describeService(
  connection: Connection,
  typeName: string,
  { timeoutMs = defaultTimeoutMs }: DiscoveryOptions = {},
): Promise<DescService> {
  const { link } = internalsOf(connection);
  const info = await firstInfo(link, typeName, timeoutMs);
  const subject = info?.metadata[Discovery.describe];
  const reply = subject && (await askWorker(link, typeName, subject, timeoutMs));
  if (!reply || isNoResponders(reply)) {
    throw new ConnectError(
      `no worker of ${typeName} answers: start one, or check the name`,
      Code.Unavailable,
    );
  }
  if (isStatus(reply)) {
    throw decodeStatus(reply);
  }
  const files = decode(FileDescriptorSetSchema, reply.data, Code.Internal);
  let service: DescService | undefined;
  let cause: unknown;
  try {
    service = createFileRegistry(files).getService(typeName);
  } catch (error) {
    cause = error;
  }
  if (!service) {
    const text = `the descriptors that a worker of ${typeName} gives do not hold it`;
    throw causedError(text, Code.Internal, cause);
  }
  return service;
}

/**
 * Asks where a worker says. Anyone may answer for a service: an empty request to a subject
 * of their choice could be an order to JetStream.
 */
function askWorker(link: Link, typeName: string, subject: string, timeoutMs: number): Promise<Msg> {
  if (!/^[^\s*>$.][^\s*>]*\.describe$/.test(subject)) {
    throw new ConnectError(
      `a worker of ${typeName} gives its descriptors on ${quote(subject)}, which is no such subject`,
      Code.Internal,
    );
  }
  // No stream stores it: a call may have the id "describe".
  const headers = new HeaderBlock().add(Header.expectedStream, "none");
  const route = link.mux.createRoute();
  return sendRequest(link, { subject, payload: new Uint8Array(0), headers, timeoutMs, route });
}

/** As gRPC's health checking names it. */
export type HealthStatus = "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";

/**
 * Tells the health of a service: SERVING when a worker takes calls, NOT_SERVING
 * when all that answer are about to stop, SERVICE_UNKNOWN when none answers.
 *
 * Throws Unavailable when the connection is lost.
 */
export async function checkHealth(
  connection: Connection,
  typeName: string,
  { timeoutMs = defaultTimeoutMs }: DiscoveryOptions = {},
): Promise<HealthStatus> {
  let status: HealthStatus = "SERVICE_UNKNOWN";
  const subject = discoverySubject("PING", microName(typeName));
  await gather(internalsOf(connection).link, subject, timeoutMs, (message) => {
    const answer = parseReply(message)?.metadata;
    if (answer?.[Discovery.service] === typeName) {
      status = answer[Discovery.status] === "SERVING" ? "SERVING" : "NOT_SERVING";
    }
    return status === "SERVING";
  });
  return status;
}

function toServiceInfo({ id, version, metadata, endpoints }: InfoReply): ServiceInfo {
  return {
    typeName: metadata[Discovery.service] ?? "",
    id,
    version,
    status: metadata[Discovery.status] === "SERVING" ? "SERVING" : "NOT_SERVING",
    methods: endpoints.map(({ name, metadata: of }) => ({
      name,
      kind: of[Discovery.kind] ?? "",
      delivery: of[Discovery.delivery] === "direct" ? "direct" : "durable",
      input: of[Discovery.input] ?? "",
      output: of[Discovery.output] ?? "",
    })),
    methodCount: Math.max(endpoints.length, wholeNumber(metadata[Discovery.endpoints]) ?? 0),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
