import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary } from "@bufbuild/protobuf";
import { CodeGeneratorRequestSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { plugin } from "../src/plugin.js";
import { type Outcome, Workspace } from "./workspace.js";

/** Does something in a workspace that has these files. */
function inWorkspace(
  files: Record<string, string>,
  act: (workspace: Workspace) => Outcome,
  options?: string[],
): Outcome {
  const workspace = new Workspace(options);
  try {
    for (const [path, text] of Object.entries(files)) {
      workspace.write(`proto/${path}`, text);
    }
    return act(workspace);
  } finally {
    workspace.remove();
  }
}

/** Runs `buf generate` over files. */
function generateByBuf(files: Record<string, string>, options?: string[]): Outcome {
  return inWorkspace(files, (workspace) => workspace.generate(), options);
}

/** What `buf generate` says, by the plugin in this process: to start it takes a second. */
function generate(files: Record<string, string>): Outcome {
  return inWorkspace(files, (workspace) => {
    const built = workspace.run("buf", ["build", "-o", "image.binpb"]);
    if (built.status !== 0) {
      return built;
    }
    const image = readFileSync(join(workspace.folder, "image.binpb"));
    const { file: protoFile } = fromBinary(FileDescriptorSetSchema, image);
    const fileToGenerate = protoFile.flatMap(({ name }) =>
      name.startsWith("google/") ? [] : [name],
    );
    const parameter = "npm_scope=@acme";
    const request = create(CodeGeneratorRequestSchema, { parameter, protoFile, fileToGenerate });
    const { error } = plugin.run(request);
    return error
      ? { status: 1, output: `Failure: plugin protoc-gen-jetrpc: ${error}\n` }
      : { status: 0, output: "" };
  });
}

/** A .proto whose first line has all that is needed: what is given begins in line 2. */
function proto(pkg: string, body: string): string {
  return `syntax = "proto3"; package ${pkg}; import "jetrpc/v1/options.proto"; message M {}\n${body}`;
}

/** What buf prints on stderr, whole. */
function failure(...problems: string[]): Outcome {
  const lines = [
    "Failure: plugin protoc-gen-jetrpc: the .proto files have problems",
    ...problems,
    "",
  ];
  return { status: 1, output: lines.join("\n") };
}

test("options that cannot be are refused, all at once, with place and mend", () => {
  const outcome = generateByBuf({
    "p/methods.proto": proto(
      "p",
      `service Methods {
  rpc Talk(stream M) returns (stream M) { option (jetrpc.v1.method) = { delivery: DELIVERY_DURABLE }; }
  rpc Send(stream M) returns (M) {
    option deprecated = true;
    option (jetrpc.v1.method).timeout = { seconds: 5 };
    option (jetrpc.v1.method).delivery = DELIVERY_DURABLE;
  }
  rpc Wait(M) returns (M) {
    option (jetrpc.v1.method) = {
      max_attempts: 3
      backoff: [{ seconds: 1 }, { seconds: 2 }, { seconds: 3 }]
    };
  }
  rpc Never(M) returns (M) { option (jetrpc.v1.method) = { max_attempts: -1 }; }
}`,
    ),
    "p/services.proto": `syntax = "proto3"; package p; import "jetrpc/v1/options.proto";
service Space { option (jetrpc.v1.service) = { subject_prefix: "a b" }; }
service Star { option (jetrpc.v1.service) = { subject_prefix: "a.*" }; }
service Tail { option (jetrpc.v1.service) = { subject_prefix: "a.>" }; }
service Gap { option (jetrpc.v1.service) = { subject_prefix: "a..b" }; }
service Dollar { option (jetrpc.v1.service).subject_prefix = "$a"; }
service Dot { option (jetrpc.v1.service) = { stream: "a.b" }; }
`,
  });
  const tokens = `must be tokens joined by single dots, without spaces and without the wildcards "*" and ">"`;
  const streams =
    "a method that streams its requests cannot be durable: remove `delivery`, or send one request";
  expect(outcome).toEqual(
    failure(
      `p/methods.proto:3:73: ${streams}`,
      `p/methods.proto:7:5: ${streams}`,
      "p/methods.proto:12:7: backoff has 3 values, but 3 attempts leave room for 2: remove values or raise max_attempts",
      "p/methods.proto:15:60: max_attempts -1 must be 1 or more",
      `p/services.proto:2:48: subject_prefix "a b" ${tokens}`,
      `p/services.proto:3:47: subject_prefix "a.*" ${tokens}`,
      `p/services.proto:4:47: subject_prefix "a.>" ${tokens}`,
      `p/services.proto:5:46: subject_prefix "a..b" ${tokens}`,
      `p/services.proto:6:18: subject_prefix "$a" must not start with "$" or be below "_INBOX": NATS keeps those for itself`,
      `p/services.proto:7:46: stream "a.b" must be 1 to 200 letters, digits, "-" or "_"`,
    ),
  );
});

test("a Blob in the messages of a direct method is refused, wherever it is", () => {
  const outcome = generate({
    "b/b.proto": `syntax = "proto3"; package b;
import "jetrpc/v1/blob.proto"; import "jetrpc/v1/options.proto";
message File { oneof one { jetrpc.v1.Blob blob = 1; } File next = 2; }
message Folder { map<string, File> files = 1; }
message None { None next = 1; }
service Files {
  rpc Fine(Folder) returns (stream File);
  rpc Read(None) returns (Folder) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Watch(File) returns (stream None) { option (jetrpc.v1.method) = { delivery: DELIVERY_DIRECT }; }
  rpc Send(stream File) returns (None);
  rpc Bare(None) returns (None) { option idempotency_level = NO_SIDE_EFFECTS; }
}
`,
  });
  const why = "holds a jetrpc.v1.Blob, which is for durable methods";
  const mend = "set delivery: DELIVERY_DURABLE, or take the Blob out";
  expect(outcome).toEqual(
    failure(
      `b/b.proto:8:3: Read is direct, and b.Folder ${why}: ${mend}`,
      `b/b.proto:9:73: Watch is direct, and b.File ${why}: ${mend}`,
      `b/b.proto:10:3: Send is direct, and b.File ${why}: take the Blob out, or do not stream the requests`,
    ),
  );
});

test("what two services, files or packages cannot share is refused, with place and mend", () => {
  const long = "a".repeat(220);
  const outcome = generate({
    "q/q.proto": proto(
      "q",
      `service First { option (jetrpc.v1.service) = { subject_prefix: "x" stream: "S" }; rpc Do(M) returns (M); }
service Same { option (jetrpc.v1.service) = { subject_prefix: "x" stream: "S" }; rpc Do(M) returns (M); }
service Cases { rpc GetX(M) returns (M); rpc getX(M) returns (M); rpc __proto__(M) returns (M); }
`,
    ),
    "q/r.proto": `syntax = "proto3"; package q; import "jetrpc/v1/options.proto"; import "q/q.proto";
service Below { option (jetrpc.v1.service).subject_prefix = "q.Cases.more"; rpc Do(M) returns (M); }
service Log { option (jetrpc.v1.service) = { stream: "q_Below_LOG" }; rpc Do(M) returns (M); }
service Bucket { option (jetrpc.v1.service) = { stream: "OBJ_q_Below_PAYLOAD" }; rpc Do(M) returns (M); }
service Below_PROGRESS { rpc Do(M) returns (M); }
service Below_DEAD { rpc Do(M) returns (M); }
service Below_LATER { rpc Do(M) returns (M); }
service Below_PAYLOAD { rpc Do(M) returns (M); }
service Reader {
  option (jetrpc.v1.service) = { stream: "S" };
  rpc Do(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
}
`,
    "caps/caps.proto": `syntax = "proto3";\npackage Q;\n`,
    "long/long.proto": `syntax = "proto3";\npackage ${long};\nmessage M {}\nservice S { rpc Do(M) returns (M); }\n`,
    "long/method.proto": proto(
      "m",
      `service Fits { rpc ${"A".repeat(255)}(M) returns (M); }
service Direct { rpc ${"A".repeat(256)}(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; } }
service Long { rpc ${"A".repeat(256)}(M) returns (M); }
service Queues { rpc ${"A".repeat(251)}(M) returns (M) { option (jetrpc.v1.method).priorities = true; } }
`,
    ),
  });
  const subjects = "give one of them another subject_prefix";
  const streams = "give one of them another stream";
  expect(outcome).toEqual(
    failure(
      `long/long.proto:2:1: package "${long}" gives a name of 233 characters, and npm takes 214: shorten it`,
      `q/q.proto:1:20: package "q" and package "Q" of caps/caps.proto would both be the npm package @acme/q-client: rename one of them`,
      "long/method.proto:4:16: the name of a method of Long makes a consumer of 256 characters, and NATS takes 255: shorten it",
      "long/method.proto:5:18: the name of a method of Queues makes a consumer of 256 characters, and NATS takes 255: shorten it",
      `q/q.proto:4:42: the methods GetX and getX would both be "getX" in TypeScript: rename one of them`,
      'q/q.proto:4:67: JavaScript keeps the name "__proto__" for itself: rename the method',
      `q/q.proto:3:47: the subjects below "x" and those of q.First below "x" overlap: ${subjects}`,
      `q/q.proto:3:67: q.First has the stream "S" too: ${streams}`,
      `q/r.proto:2:17: the subjects below "q.Cases.more" and those of q.Cases below "q.Cases" overlap: ${subjects}`,
      `q/r.proto:3:46: q.Below has the stream "q_Below_LOG" too: ${streams}`,
      `q/r.proto:4:49: q.Below has the stream "OBJ_q_Below_PAYLOAD" too: ${streams}`,
      `q/r.proto:5:1: q.Below has the stream "q_Below_PROGRESS" too: ${streams}`,
      `q/r.proto:6:1: q.Below has the stream "q_Below_DEAD" too: ${streams}`,
      `q/r.proto:7:1: q.Below has the stream "q_Below_LATER" too: ${streams}`,
      `q/r.proto:10:34: q.First has the stream "OBJ_S_PAYLOAD" too: ${streams}`,
      `q/r.proto:10:34: q.Same has the stream "OBJ_S_PAYLOAD" too: ${streams}`,
    ),
  );
});

test("names that no module can export are refused, and only those", () => {
  const types = "any as await infer keyof never readonly symbol undefined unique unknown".split(
    " ",
  );
  const outcome = generate({
    "m.proto": `syntax = "proto3"; package m;\n${types.map((word) => `message ${word} {}`).join("\n")}`,
    "e.proto": `syntax = "proto3"; package e;
enum symbol { UNKNOWN = 0; }
message Fine { message any {} }
service any {}
enum exports { E = 0; }
enum __proto__ { P = 0; }
message __esModule {}`,
    "s.proto": `syntax = "proto3"; package s; import "google/protobuf/descriptor.proto";
service await {}
service eval {}
service __esModule {}
service exports {}
extend google.protobuf.FileOptions { bool arguments = 50001; bool readonly = 50002; }`,
  });
  const refused = (place: string, word: string, desc: string) =>
    `${place}: "${word}" is a word of JavaScript or TypeScript: rename ${desc}`;
  expect(outcome).toEqual(
    failure(
      refused("e.proto:2:1", "symbol", "enum e.symbol"),
      refused("e.proto:5:1", "exports", "enum e.exports"),
      refused("e.proto:6:1", "__proto__", "enum e.__proto__"),
      ...types.map((word, index) => refused(`m.proto:${index + 2}:1`, word, `message m.${word}`)),
      refused("s.proto:2:1", "await", "service s.await"),
      refused("s.proto:3:1", "eval", "service s.eval"),
      refused("s.proto:4:1", "__esModule", "service s.__esModule"),
      refused("s.proto:6:38", "arguments", "extension s.arguments"),
    ),
  );
});

test("what is alike but not the same passes", () => {
  const outcome = generate({
    "p/p.proto": proto(
      "p",
      `service A { option (jetrpc.v1.service) = { subject_prefix: "x.y" stream: "S" }; rpc Do(M) returns (M); }
service B { option (jetrpc.v1.service) = { subject_prefix: "x.yz" stream: "s" }; rpc Do(M) returns (M); }
service C {
  rpc Do(M) returns (M) {
    option (jetrpc.v1.method) = { max_attempts: 3 backoff: [{ seconds: 1 }, { seconds: 2 }] };
  }
  rpc Talk(stream M) returns (stream M) { option (jetrpc.v1.method) = { delivery: DELIVERY_DIRECT }; }
}`,
    ),
  });
  expect(outcome).toEqual({ status: 0, output: "" });
});

const options =
  "there are npm_scope, npm_version, npm_license, ts_nocheck and elide_plugin_version";

test("an unknown option of the plugin is refused through buf", () => {
  const outcome = generateByBuf({ "p.proto": proto("p", "") }, [
    "npm_scope=@acme",
    "npm_scop=@acme",
  ]);
  expect(outcome).toEqual({
    status: 1,
    output: `Failure: plugin protoc-gen-jetrpc: the option "npm_scop=@acme" is unknown: ${options}\n`,
  });
});

const scope = "must be a scope such as @acme";
const version = "must be a version such as 1.2.3 or, of one package, pdf.v1:1.2.3";

test.each([
  ["npm_scope=acme", scope],
  ["npm_scope=@Acme", scope],
  ["npm_scope=@acme/x", scope],
  ["npm_version=1", version],
  ["npm_version=v1.2.3", version],
  ["npm_version=pdf.v1:1", version],
  ["npm_license=", "must be an SPDX expression such as Apache-2.0"],
  ["ts_nocheck=maybe", "must be true or false"],
  ["rewrite_imports=./a/*:b", `is unknown: ${options}`],
  ["constructor=x", `is unknown: ${options}`],
  ["target=js", `cannot be: packages are generated with "target=ts"; remove it`],
  [
    "import_extension=none",
    `cannot be: packages are generated with "import_extension=js"; remove it`,
  ],
  [
    "js_import_style=legacy_commonjs",
    `cannot be: packages are generated with "js_import_style=module"; remove it`,
  ],
])("the option %s is refused", (parameter, why) => {
  const { error } = plugin.run(create(CodeGeneratorRequestSchema, { parameter }));
  expect(error).toBe(`the option "${parameter}" ${why}`);
});
