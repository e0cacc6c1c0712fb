/**
 * What NATS micro says of its replies: ADR-32, and the schemas
 * io.nats.micro.v1.{ping,info,stats}_response of nats-io/jsm.go.
 */
const name = { type: "string", pattern: "^[a-zA-Z0-9_-]+$", minLength: 1 };
const version = {
  type: "string",
  minLength: 5,
  pattern:
    "^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)(?:-((?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\\.(?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\\+([0-9a-zA-Z-]+(?:\\.[0-9a-zA-Z-]+)*))?$",
};
const text = { type: "string", minLength: 1 };
const metadata = {
  oneOf: [{ type: "object", additionalProperties: { type: "string" } }, { type: "null" }],
};
const int64 = { type: "integer", minimum: -(2 ** 63), maximum: 2 ** 63 };

const head = (kind: string) => ({
  type: { const: `io.nats.micro.v1.${kind}_response` },
  name,
  id: text,
  version,
  metadata,
});
const required = ["type", "name", "id", "version"];

const endpoints = (properties: object, more: string[]) => ({
  type: "array",
  items: {
    type: "object",
    required: ["name", "subject", ...more],
    properties: { name, subject: text, queue_group: text, ...properties },
  },
});

export const microSchemas = {
  PING: { type: "object", required, properties: head("ping") },
  INFO: {
    type: "object",
    required: [...required, "description"],
    properties: {
      ...head("info"),
      description: { type: "string" },
      endpoints: endpoints({ metadata }, []),
    },
  },
  STATS: {
    type: "object",
    required: [...required, "started", "endpoints"],
    properties: {
      ...head("stats"),
      // RFC 3339.
      started: {
        type: "string",
        pattern: "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$",
      },
      endpoints: endpoints(
        {
          num_requests: int64,
          num_errors: int64,
          last_error: { type: "string" },
          processing_time: int64,
          average_processing_time: int64,
          data: { type: "object" },
        },
        ["num_requests", "num_errors", "last_error", "processing_time", "average_processing_time"],
      ),
    },
  },
} as const;
