import { test } from "vitest";
import { expectEveryMessage } from "./every-message.js";
import { compile, npmPackage } from "./protos.js";

// What others define, as npm packages ship it.

test("the messages of googleapis are written and read as protobuf-es does", () => {
  const paths = [
    ...["api", "type", "rpc", "logging/type", "longrunning", "pubsub/v1", "firestore/v1"],
    ...["cloud/vision/v1", "cloud/bigquery/v2", "cloud/speech/v2", "monitoring/v3"],
  ].map((path) => `google/${path}`);
  expectEveryMessage(compile(npmPackage("google-proto-files@5.0.3"), ...paths), 500);
});

test("the messages of gRPC's health check are written and read as protobuf-es does", () => {
  expectEveryMessage(compile(`${npmPackage("grpc-health-check@2.1.0")}/proto`), 2);
});
