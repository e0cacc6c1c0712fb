import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@jetrpc/runtime";
import { bindService, checkService } from "@jetrpc/runtime/schema";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";

const top = join(import.meta.dirname, "../../..");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "jetrpc-binding-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Compiles a service that is given as it stands in a .proto. */
function compile(body: string): DescService {
  mkdirSync(join(folder, "t"), { recursive: true });
  writeFileSync(
    join(folder, "t/t.proto"),
    `syntax = "proto3"; package t; import "jetrpc/v1/options.proto"; message M {} ${body}`,
  );
  execFileSync("cp", ["-r", join(top, "proto/jetrpc"), folder]);
  const buf = join(top, "node_modules/.bin/buf");
  const image = execFileSync(buf, ["build", folder, "-o", "-#format=binpb"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const service = createFileRegistry(fromBinary(FileDescriptorSetSchema, image)).getService("t.S");
  if (!service) {
    throw new Error("the fixture has no service t.S");
  }
  return service;
}

describe("bindService", () => {
  test("derives every default from the descriptor", () => {
    const service = bindService(
      compile(`service S {
        rpc Read(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
        rpc Work(M) returns (M);
        rpc Feed(M) returns (stream M);
        rpc Collect(stream M) returns (M);
        rpc Talk(stream M) returns (stream M);
      }`),
    );
    expect(service).toMatchObject({
      prefix: "t.S",
      stream: "t_S",
      logStream: "t_S_LOG",
      payloadBucket: "t_S_PAYLOAD",
      replicas: 1,
      storage: "file",
      resultRetentionMs: 7 * 24 * 3_600_000,
      maxQueueAgeMs: 0,
    });
    const delivery = [...service.methods].map(([name, m]) => [name, m.delivery, m.timeoutMs]);
    expect(delivery).toEqual([
      ["read", "direct", 30_000],
      ["work", "durable", 600_000],
      ["feed", "durable", 600_000],
      ["collect", "direct", 0],
      ["talk", "direct", 0],
    ]);
    expect(service.methods.get("work")).toMatchObject({
      maxAttempts: 5,
      backoffMs: [1_000, 2_000, 4_000, 8_000],
      ackWaitMs: 15_000,
      concurrency: 0,
      resume: "replay",
    });
  });

  test("takes what the options say", () => {
    const service = bindService(
      compile(`service S {
        option (jetrpc.v1.service) = {
          stream: "X-1" subject_prefix: "a.b" replicas: 3 storage: STORAGE_MEMORY
          result_retention: {seconds: 60} max_queue_age: {seconds: 5}
        };
        rpc Work(M) returns (stream M) {
          option idempotency_level = NO_SIDE_EFFECTS;
          option (jetrpc.v1.method) = {
            delivery: DELIVERY_DURABLE timeout: {seconds: 2} max_attempts: 3
            backoff: [{nanos: 5000000}, {seconds: 1}] concurrency: 4
            ack_wait: {seconds: 9} resume: RESUME_HANDLER
          };
        }
      }`),
    );
    expect(service).toMatchObject({
      prefix: "a.b",
      stream: "X-1",
      logStream: "X-1_LOG",
      replicas: 3,
      storage: "memory",
      resultRetentionMs: 60_000,
      maxQueueAgeMs: 5_000,
    });
    expect(service.methods.get("work")).toMatchObject({
      delivery: "durable",
      queueSubject: "a.b.queue.Work",
      timeoutMs: 2_000,
      maxAttempts: 3,
      backoffMs: [5, 1_000],
      concurrency: 4,
      ackWaitMs: 9_000,
      resume: "handler",
    });
  });

  test("throws InvalidArgument for an impossible option", () => {
    const service = compile(`service S {
      option (jetrpc.v1.service) = { stream: "a b" };
      rpc Work(M) returns (M);
    }`);
    expect(() => bindService(service)).toThrow(
      expect.objectContaining({ code: Code.InvalidArgument }),
    );
  });
});

describe("checkService", () => {
  test("finds nothing wrong with good options", () => {
    expect(checkService(TestService)).toEqual([]);
  });

  test.each([
    [`option (jetrpc.v1.service) = { stream: "a.b" };`, "stream"],
    [`option (jetrpc.v1.service) = { subject_prefix: "a b" };`, "subject_prefix"],
    [`option (jetrpc.v1.service) = { subject_prefix: "a.*" };`, "subject_prefix"],
    [`option (jetrpc.v1.service) = { subject_prefix: "a.>" };`, "subject_prefix"],
    [`option (jetrpc.v1.service) = { subject_prefix: "a..b" };`, "subject_prefix"],
    [`option (jetrpc.v1.service) = { subject_prefix: "$JS.a" };`, "subject_prefix"],
    [`option (jetrpc.v1.service) = { storage: 9 };`, "storage"],
    [`option (jetrpc.v1.service) = { replicas: 6 };`, "replicas"],
    [`option (jetrpc.v1.service) = { replicas: -1 };`, "replicas"],
    [`option (jetrpc.v1.service) = { result_retention: {nanos: 1} };`, "result_retention"],
    [`option (jetrpc.v1.service) = { max_queue_age: {seconds: -1} };`, "max_queue_age"],
  ])("refuses %s", (option, field) => {
    const problems = checkService(compile(`service S { ${option} rpc Work(M) returns (M); }`));
    expect(problems.map((p) => p.field)).toEqual([field]);
  });

  test.each(["DELIVERY_DIRECT", "DELIVERY_DURABLE"])("takes no time-out for %s", (delivery) => {
    const option = `option (jetrpc.v1.method) = { delivery: ${delivery} timeout: {} };`;
    const service = compile(`service S { rpc Work(M) returns (M) { ${option} } }`);
    expect(checkService(service)).toEqual([]);
    expect(bindService(service).methods.get("work")?.timeoutMs).toBe(0);
  });

  test.each([
    ["Work(stream M) returns (M)", "delivery: DELIVERY_DURABLE", ["delivery"]],
    ["Work(stream M) returns (stream M)", "delivery: DELIVERY_DURABLE", ["delivery"]],
    ["Work(M) returns (M)", "max_attempts: 2 backoff: [{seconds: 1}, {seconds: 2}]", ["backoff"]],
    ["Work(M) returns (M)", "max_attempts: 1 backoff: {seconds: 1}", ["backoff"]],
    ["Work(M) returns (M)", "max_attempts: -1", ["max_attempts"]],
    ["Work(M) returns (M)", "backoff: {seconds: -1}", ["backoff"]],
    ["Work(M) returns (M)", "timeout: {nanos: 1}", ["timeout"]],
    ["Work(M) returns (M)", "timeout: {seconds: 99999999}", ["timeout"]],
    ["Work(M) returns (M)", "ack_wait: {nanos: 5000000}", ["ack_wait"]],
    ["Work(M) returns (M)", "concurrency: -3", ["concurrency"]],
    ["Work(M) returns (M)", "delivery: 7", ["delivery"]],
    ["Work(M) returns (stream M)", "resume: 7", ["resume"]],
    ["Work(M) returns (M)", "resume: RESUME_HANDLER", ["resume"]],
    ["Work(M) returns (M)", "delivery: DELIVERY_DIRECT max_attempts: 3", ["max_attempts"]],
    ["Work(M) returns (M)", "delivery: DELIVERY_DIRECT ack_wait: {seconds: 5}", ["ack_wait"]],
    ["Work(M) returns (M)", "delivery: DELIVERY_DIRECT resume: RESUME_REPLAY", ["resume"]],
  ])("refuses rpc %s with %s", (rpc, options, fields) => {
    const service = compile(
      `service S { rpc ${rpc} { option (jetrpc.v1.method) = { ${options} }; } }`,
    );
    expect(checkService(service).map((p) => p.field)).toEqual(fields);
  });
});
