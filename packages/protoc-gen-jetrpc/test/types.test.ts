import { afterAll, expect, test } from "vitest";
import { snippetsOf, Workspace } from "./workspace.js";

const workspace = new Workspace([
  "npm_scope=@acme",
  "npm_version=1.0.0",
  "npm_version=kinds.v1:2.3.4",
  "npm_license=MIT",
]);
afterAll(() => workspace.remove());

const proto = `syntax = "proto3";
package kinds.v1;
import "jetrpc/v1/blob.proto";
import "jetrpc/v1/options.proto";
message Ask { string text = 1; }
message File { jetrpc.v1.Blob blob = 1; repeated jetrpc.v1.Blob more = 2; }
message Answer { int32 number = 1; }
service KindsService {
  option (jetrpc.v1.service) = { stream: "KINDS" subject_prefix: "our.kinds" };
  // Reads something.
  rpc Read(Ask) returns (Answer) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Work(Ask) returns (Answer);
  rpc Feed(Ask) returns (stream Answer);
  rpc Watch(Ask) returns (stream Answer) { option (jetrpc.v1.method) = { delivery: DELIVERY_DIRECT }; }
  rpc Collect(stream Ask) returns (Answer);
  rpc Talk(stream Ask) returns (stream Answer);
  rpc Copy(File) returns (File);
}
`;

/** What must hold of the generated types; a line that must not compile says so. */
const uses = `
import {
  type Blob, blobOf, type DurableHandlerContext, type HandlerContext, openBlob, type StreamingCall, type UnaryCall,
} from "@jetrpc/runtime";
import { startWorker, type Connection, type WorkerImpl } from "@jetrpc/runtime";
import { fileBlob, saveBlob, serve } from "@jetrpc/runtime/node";
import { createTestTransport } from "@jetrpc/testing";
import {
  type Answer, type AnswerSchema, type Ask, type KindsClient, KindsService, type KindsWorker,
} from "@acme/kinds-v1-client";
import { KindsService as Plain } from "./gen/kinds/v1/kinds_pb.js";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<T extends true>(): T | undefined { return undefined; }

// The client: submit and attach on durable methods only.
export async function call(client: KindsClient, asks: AsyncIterable<{ text: string }>) {
  const submitted = await client.work.submit({ text: "x" }, { callId: "1" });
  holds<Same<typeof submitted, UnaryCall<typeof AnswerSchema>>>();
  const attached = client.feed.attach("1");
  holds<Same<typeof attached, StreamingCall<typeof AnswerSchema>>>();
  const answers: Answer[] = [
    await client.read({ text: "x" }), await client.work({}), await submitted.result(), await client.collect(asks),
  ];
  for (const stream of [client.feed({}), client.watch({}), client.talk(asks), attached]) {
    for await (const answer of stream) answers.push(answer);
  }
  const { blob, more } = await client.copy({ blob: fileBlob("a"), more: [blobOf(new Uint8Array(1))] });
  await saveBlob(blob, "b");
  const files: Blob[] = more;
  for (const file of files) for await (const chunk of openBlob(file)) holds<Same<typeof chunk, Uint8Array>>();
  // @ts-expect-error bytes are no Blob
  await client.copy({ blob: new Uint8Array(1) });
  // @ts-expect-error a field that is not there
  await client.work({ txt: "x" });
  // @ts-expect-error one request, not many
  await client.collect({ text: "x" });
  // @ts-expect-error direct
  client.read.submit;
  // @ts-expect-error direct
  client.read.attach;
  // @ts-expect-error direct
  client.watch.submit;
  // @ts-expect-error direct
  client.watch.attach;
  // @ts-expect-error direct
  client.collect.submit;
  // @ts-expect-error direct
  client.talk.attach;
  // @ts-expect-error methods are not for assignment
  client.read = client.read;
  return answers;
}

// The worker interface: what a handler is told, and what it returns.
type Context<M extends keyof KindsWorker> = Parameters<KindsWorker[M]>[1];
holds<Same<Context<"read">, HandlerContext>>();
holds<Same<Context<"work">, DurableHandlerContext>>();
holds<Same<Context<"feed">, DurableHandlerContext>>();
holds<Same<Context<"watch">, HandlerContext>>();
holds<Same<Context<"collect">, HandlerContext>>();
holds<Same<Context<"talk">, HandlerContext>>();
holds<Same<Parameters<KindsWorker["work"]>[0], Ask>>();

export const worker = {
  read: (request) => ({ number: request.text.length }),
  async work(request, context) {
    context.progress({ done: context.attempt });
    return { number: 1 };
  },
  async *feed() {
    yield { number: 1 };
  },
  copy: ({ blob }) => ({ blob: blobOf(() => openBlob(blob as Blob), { contentType: "text/plain" }) }),
} satisfies Partial<KindsWorker>;

export const wrong: Partial<KindsWorker> = {
  // @ts-expect-error a direct call has no progress
  read: (request, context) => context.progress({ done: 1 }),
  // @ts-expect-error a number, not a text
  work: () => ({ number: "1" }),
};

holds<Same<keyof KindsClient, keyof KindsWorker>>();

// A service of the package has its handlers typed by how their methods are delivered.
holds<Same<WorkerImpl<typeof KindsService>, KindsWorker>>();
export async function run(connection: Connection) {
  await serve(KindsService, {
    // @ts-expect-error a direct call has no progress
    read: (request, context) => ({ number: context.progress({ done: 1 }) ?? request.text.length }),
    // @ts-expect-error nor has a direct stream
    async *watch(_request, context) { context.progress({ done: 1 }); },
    async work(_request, context) {
      context.progress({ done: context.attempt });
      return { number: 1 };
    },
  });
  await startWorker(KindsService, {
    // @ts-expect-error a direct call has no attempts
    read: (_request, { attempt }) => ({ number: attempt }),
    work: (_request, { attempt }) => ({ number: attempt }),
  }, connection);
  createTestTransport(KindsService, {
    // @ts-expect-error a direct call has no progress
    read: (_request, context) => ({ number: context.progress({ done: 1 }) ?? 1 }),
    work: (_request, { attempt }) => ({ number: attempt }),
  });
  await serve(KindsService, worker);
  // @ts-expect-error a method that is not there
  await serve(KindsService, { reed: () => ({}) });
  // What the type of a descriptor alone does not tell is found at run time.
  await serve(Plain, { read: (_request, context) => ({ number: context.attempt }) });
  const all: Partial<WorkerImpl<typeof Plain>> = { work: () => ({ number: 1 }) };
  await serve(KindsService, all);
  await serve(Plain, worker);
}
// @ts-expect-error this very check can fail
holds<Same<KindsClient, KindsWorker>>();
`;

test("client, worker interface and service have the types of the methods", () => {
  workspace.write("proto/kinds/v1/kinds.proto", proto);
  expect(workspace.generate()).toEqual({ status: 0, output: "" });
  workspace.write("uses.ts", uses);
  const snippets = snippetsOf(workspace.generated());
  expect(snippets.size).toBe(2);
  for (const [path, text] of snippets) {
    workspace.write(path, text);
  }
  const files = ["uses.ts", ...snippets.keys()];
  expect(workspace.typeCheck(files, workspace.packagePaths())).toEqual({ status: 0, output: "" });
});

test("the package has the version and license of the options", () => {
  const manifest = JSON.parse(workspace.read("gen/kinds/v1/package.json"));
  expect(manifest).toMatchObject({
    name: "@acme/kinds-v1-client",
    version: "2.3.4",
    license: "MIT",
    peerDependencies: { "@jetrpc/runtime": expect.stringMatching(/^\^\d/) },
  });
});

test("the comments of the .proto document worker and client", () => {
  const code = workspace.read("gen/kinds/v1/kinds_jetrpc.ts");
  expect(code.split("   * Reads something.\n")).toHaveLength(3);
});
