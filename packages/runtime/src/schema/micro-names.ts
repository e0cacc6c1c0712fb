import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/** Names of NATS micro (ADR-32) and the metadata that jetrpc adds to its replies. */
export const Discovery = {
  /** Full name of the protobuf service, of a service's metadata. */
  service: "jetrpc-service",
  /** SERVING or NOT_SERVING, of a service's metadata. */
  status: "jetrpc-status",
  /**
   * Names of all methods of the schema, with commas between, of a service's metadata; left
   * out where there is no room for them.
   */
  methods: "jetrpc-methods",
  /** How many endpoints a worker has, where its answer has no room for all of them. */
  endpoints: "jetrpc-endpoints",
  /** Subject that answers with the descriptors, of a service's metadata. */
  describe: "jetrpc-describe",
  /** direct or durable, of an endpoint's metadata. */
  delivery: "jetrpc-delivery",
  /** unary, server_streaming, client_streaming or bidi_streaming, of an endpoint's metadata. */
  kind: "jetrpc-kind",
  /** Full names of the messages, of an endpoint's metadata. */
  input: "jetrpc-input",
  output: "jetrpc-output",
} as const;

/** Questions that a NATS micro service answers. */
export type Verb = "PING" | "INFO" | "STATS";

/** Subject of a question to all services, those of one name, or one of them. */
export function discoverySubject(verb: Verb, name?: string, id?: string): string {
  return ["$SRV", verb, name, id].filter((token) => token !== undefined).join(".");
}

/**
 * Name of a service in NATS micro, which allows no dots. Throws InvalidArgument for what is no
 * full name of a service.
 */
export function microName(typeName: DescService["typeName"]): string {
  if (typeof typeName !== "string" || !/^[a-z_]\w*(\.[a-z_]\w*)*$/i.test(typeName)) {
    throw new ConnectError(
      `${JSON.stringify(typeName)} is no name of a service: give its full name, such as pdf.v1.PdfService`,
      Code.InvalidArgument,
    );
  }
  return typeName.replaceAll(".", "_");
}

/** The answer to PING and INFO, as far as jetrpc reads it; what is absent is empty. */
export interface InfoReply {
  readonly name: string;
  readonly id: string;
  readonly version: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly endpoints: readonly {
    readonly name: string;
    readonly metadata: Readonly<Record<string, string>>;
  }[];
}
