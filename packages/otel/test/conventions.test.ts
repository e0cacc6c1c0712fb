import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as stable from "@opentelemetry/semantic-conventions";
import * as incubating from "@opentelemetry/semantic-conventions/incubating";
import { expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { Attr, conventionsVersion, Metric, rpcSystem } from "../src/conventions.js";
import { scope } from "../src/scope.js";

test("attributes are those of the conventions", () => {
  expect(Attr).toEqual({
    rpcSystem: stable.ATTR_RPC_SYSTEM_NAME,
    rpcMethod: stable.ATTR_RPC_METHOD,
    rpcStatusCode: stable.ATTR_RPC_STATUS_CODE,
    errorType: stable.ATTR_ERROR_TYPE,
    serverAddress: stable.ATTR_SERVER_ADDRESS,
    serverPort: stable.ATTR_SERVER_PORT,
    messagingSystem: incubating.ATTR_MESSAGING_SYSTEM_NAME,
    messagingSystemBefore: incubating.ATTR_MESSAGING_SYSTEM,
    operationName: incubating.ATTR_MESSAGING_OPERATION_NAME,
    operationType: incubating.ATTR_MESSAGING_OPERATION_TYPE,
    destination: incubating.ATTR_MESSAGING_DESTINATION_NAME,
    messageId: incubating.ATTR_MESSAGING_MESSAGE_ID,
  });
  // Not one of the well-known values: this is no other RPC system.
  expect([
    stable.RPC_SYSTEM_NAME_VALUE_GRPC,
    incubating.RPC_SYSTEM_NAME_VALUE_CONNECTRPC,
  ]).not.toContain(rpcSystem);
});

test("metrics are those of the conventions, or begin with jetrpc", () => {
  const { rpcClientDuration, rpcServerDuration, operationDuration, processDuration, ...own } =
    Metric;
  expect({ rpcClientDuration, rpcServerDuration, operationDuration, processDuration }).toEqual({
    rpcClientDuration: stable.METRIC_RPC_CLIENT_CALL_DURATION,
    rpcServerDuration: stable.METRIC_RPC_SERVER_CALL_DURATION,
    operationDuration: incubating.METRIC_MESSAGING_CLIENT_OPERATION_DURATION,
    processDuration: incubating.METRIC_MESSAGING_PROCESS_DURATION,
  });
  const conventional = Object.values(incubating).filter((value) => typeof value === "string");
  for (const name of Object.values(own)) {
    expect(name).toMatch(/^jetrpc\./);
    expect(conventional).not.toContain(name);
  }
});

test("operations have the types of the conventions", () => {
  expect([
    incubating.MESSAGING_OPERATION_TYPE_VALUE_SEND,
    incubating.MESSAGING_OPERATION_TYPE_VALUE_PROCESS,
  ]).toEqual(["send", "process"]);
});

test("versions are those that are said", () => {
  const path = createRequire(import.meta.url).resolve("@opentelemetry/semantic-conventions");
  const [root] = /^.*semantic-conventions/.exec(path) ?? [];
  const installed = JSON.parse(readFileSync(join(root as string, "package.json"), "utf8"));
  expect(installed.version).toBe(conventionsVersion);
  expect(scope).toEqual({ name: manifest.name, version: manifest.version });
});
