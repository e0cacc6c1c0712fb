import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  constants,
  createReadStream,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { Code, ConnectError, openBlob } from "@jetrpc/runtime";
import { fileBlob } from "@jetrpc/runtime/node";
import { beforeAll, expect, test } from "vitest";
import { until } from "../../runtime/test/support.js";
import { jetrpc, linesOf, serviceOf, useShop } from "./support.js";

const shop = useShop();
const name = "studio.v1.StudioService";
let image: string;

beforeAll(() => {
  shop.project.write(
    "proto/studio/v1/studio.proto",
    `syntax = "proto3";
package studio.v1;
import "jetrpc/v1/options.proto";
import "jetrpc/v1/blob.proto";
service StudioService {
  option (jetrpc.v1.service) = {stream: "STUDIO"};
  rpc Look(Note) returns (Note) {
    option idempotency_level = NO_SIDE_EFFECTS;
  }
  rpc Count(Note) returns (stream Note) {
    option idempotency_level = NO_SIDE_EFFECTS;
  }
  rpc Join(stream Note) returns (Note);
  rpc Chat(stream Note) returns (stream Note);
  rpc Cut(Film) returns (Film);
  rpc Play(Note) returns (stream Note) {
    option (jetrpc.v1.method) = {priorities: true};
  }
}
message Note {
  string text = 1;
  int32 number = 2;
  bytes data = 3;
}
message Film {
  string title = 1;
  jetrpc.v1.Blob film = 2;
  repeated Scene scenes = 3;
}
message Scene {
  map<string, jetrpc.v1.Blob> takes = 1;
  oneof sound {
    jetrpc.v1.Blob track = 2;
    string url = 3;
  }
}
`,
  );
  image = shop.project.image();
});

interface Note {
  readonly text: string;
  readonly number: number;
  readonly data: Uint8Array;
}

/** A worker with methods of every kind; it says what it was asked. */
async function start() {
  const impl = {
    look: ({ text, data }: Note, { requestHeader }: { requestHeader: Headers }) => {
      if (text === "nothing") {
        throw new ConnectError("there is \x1b[31mnothing\nto see", Code.NotFound, undefined, [
          {
            desc: serviceOf(image, name).method["look"]?.input as never,
            value: { text: "a detail" },
          },
        ]);
      }
      return { text: `${text} ${requestHeader.get("x-tone") ?? ""}`, number: data.length };
    },
    async *count({ number }: Note) {
      for (let each = 1; each <= number; each++) {
        yield { number: each };
      }
    },
    async join(notes: AsyncIterable<Note>) {
      let text = "";
      for await (const note of notes) {
        text += note.text;
      }
      return { text };
    },
    async *chat(notes: AsyncIterable<Note>) {
      for await (const { text } of notes) {
        yield { text: text.toUpperCase() };
      }
    },
    async cut({ title, film, scenes }: FilmMessage) {
      let bytes = 0;
      const all = [
        film,
        ...scenes.flatMap(({ takes, sound }) => [...Object.values(takes), sound.value]),
      ];
      for (const blob of all.filter((each) => each !== undefined)) {
        for await (const chunk of openBlob(blob)) {
          bytes += chunk.length;
        }
      }
      const path = join(shop.project.folder, "cut.txt");
      writeFileSync(path, "cut");
      const made = (fileName: string) => fileBlob(path, { fileName });
      return {
        title: `${title}: ${bytes} bytes of ${all.length} files, ${film?.contentType}`,
        film: made("../../evil.txt"),
        scenes: [{ takes: { a: made("evil.txt") } }],
      };
    },
    async *play(
      { number }: Note,
      context: { progress(report: object): void; signal: AbortSignal },
    ) {
      for (let each = 1; each <= number; each++) {
        yield { number: each };
        context.progress({ done: each, total: number });
      }
      if (number === 3) {
        await once(context.signal, "abort");
      }
    },
  };
  await shop.worker(serviceOf(image, name), impl as never);
}

interface FilmMessage {
  readonly title: string;
  readonly film?: Parameters<typeof openBlob>[0] & { contentType: string };
  readonly scenes: readonly {
    takes: Record<string, Parameters<typeof openBlob>[0]>;
    sound: { value?: Parameters<typeof openBlob>[0] };
  }[];
}

/** Runs `jetrpc call` on a schema that workers describe, with something on stdin. */
async function call(args: readonly string[], stdin = "") {
  return await jetrpc(["call", ...args], { env: { NATS_URL: shop.server.url }, stdin });
}

test("methods of every kind are called, by what workers describe", async () => {
  await start();
  writeFileSync(join(shop.project.folder, "note.bin"), "12345");
  const look = await call([
    `${name}/Look`,
    `{"text": "hello", "data": "@${shop.project.folder}/note.bin"}`,
    "-H",
    "x-tone: low",
  ]);
  expect(look).toEqual({ code: 0, stderr: "", stdout: '{"text":"hello low","number":5}\n' });
  expect((await call(["Look"])).stdout).toBe('{"text":" "}\n');
  expect(linesOf(await call(["StudioService/Count", "-"], '{"number":\n3}'))).toEqual([
    { number: 1 },
    { number: 2 },
    { number: 3 },
  ]);
  expect((await call(["Join"], '{"text":"a"}\n\n{"text":"b"}\n')).stdout).toBe('{"text":"ab"}\n');
  writeFileSync(join(shop.project.folder, "notes.jsonl"), '{"text":"x"}\n{"text":"y"}\n');
  const chat = await call(["Chat", `@${shop.project.folder}/notes.jsonl`, '{"text":"z"}']);
  expect(linesOf(chat).map(({ text }) => text)).toEqual(["X", "Y", "Z"]);
  expect(linesOf(await call(["Play", '{"number": 2}']))).toEqual([{ number: 1 }, { number: 2 }]);
});

test("an error has its code, message and details on stderr", async () => {
  await start();
  const failed = await call(["Look", '{"text": "nothing"}']);
  expect(failed).toEqual({
    code: 1,
    stdout: "",
    stderr:
      'jetrpc: not_found: there is  [31mnothing\njetrpc: to see\njetrpc:   studio.v1.Note {"text":"a detail"}\n',
  });
  const asJson = await call(["Look", '{"text": "nothing"}', "--json"]);
  expect(JSON.parse(asJson.stderr)).toEqual({
    error: {
      code: "not_found",
      message: "there is \x1b[31mnothing\nto see",
      details: [{ type: "studio.v1.Note", value: { text: "a detail" } }],
    },
  });
});

test.each([
  ["an unknown method", ["Loo"], "no method is named Loo: there are studio.v1.StudioService.Look"],
  ["no JSON", ["Look", "{"], "request 1 is no studio.v1.Note"],
  ["a field that is not there", ["Look", '{"no": 1}'], "no"],
  ["several requests of one message", ["Look", "{}", "{}"], "takes one message"],
  ["an id of a direct call", ["Look", "--id", "a"], "--id is of durable calls"],
  ["a header that is none", ["Look", "-H", "nothing"], "is no header"],
  ["a duration that is none", ["Look", "--timeout", "9"], "--timeout 9 is no duration"],
  ["a place for no response", ["Play", "--submit", "--output", "out/"], "--submit does not wait"],
  ["a place that is not there", ["Cut", "--output", "/nowhere/film"], "is no folder /nowhere"],
  ["a place in a file", ["Cut", "--output", `${import.meta.filename}/`], "there is no folder"],
  ["a Blob without a file", ["Cut", '{"film": {}}'], "film is a Blob: give its file"],
  [
    "a file that is not there",
    ["Cut", '{"scenes":[{"track":"@no"}]}'],
    "scenes[0].track: there is no file no",
  ],
  ["a file that stdin names", ["Look", "-"], "a request from stdin may not"],
])("%s ends with 2 and says what to write", async (_, args, text) => {
  await start();
  const { code, stdout, stderr } = await call(args, '{"data": "@/etc/passwd"}');
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(text);
});

test("Blobs come from files and go to files, and no worker chooses the folder", async () => {
  await start();
  const { folder } = shop.project;
  writeFileSync(join(folder, "film.mp4"), "12345678");
  const film = `{"title": "A", "film": {"file": "@${folder}/film.mp4", "contentType": "video/mp4"},
    "scenes": [{"takes": {"1": "@${folder}/film.mp4"}, "track": "@${folder}/film.mp4"}]}`;
  const out = join(folder, "out/");
  const cut = await call(["Cut", film, "--output", out]);
  expect(cut.stderr).toBe("");
  expect(JSON.parse(cut.stdout)).toMatchObject({
    title: "A: 24 bytes of 3 files, video/mp4",
    film: { size: "3", file: join(out, "evil.txt") },
    scenes: [{ takes: { a: { file: join(out, "evil-2.txt") } } }],
  });
  expect(readdirSync(out)).toEqual(["evil-2.txt", "evil.txt"]);
  expect(readFileSync(join(out, "evil-2.txt"), "utf8")).toBe("cut");
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  const piped = textOf(createReadStream(pipe));
  await call(["Cut", '{"title": "B"}', "--output", pipe]);
  expect(await piped).toBe("cut");
  expect(statSync(pipe).isFIFO()).toBe(true);
  const nowhere = await call(["Cut", "{}", "--output", "/proc/nowhere/"]);
  expect(nowhere).toMatchObject({ code: 1, stdout: "" });
  expect(nowhere.stderr).toContain("--output /proc/nowhere/ cannot be written: ENOENT");
  const one = await call(["Cut", '{"title": "B"}', "--output", join(folder, "one.txt")]);
  expect(one).toMatchObject({ code: 2, stderr: expect.stringContaining("several Blobs") });
});

test("Ctrl-C ends the wait for a pipe that is named as a file", async () => {
  const pipe = join(shop.project.folder, "requests");
  execFileSync("mkfifo", [pipe]);
  const bin = join(import.meta.dirname, "../bin/jetrpc.js");
  const args = [bin, "call", "Look", `@${pipe}`, "--descriptors", image];
  const child = spawn(process.execPath, args, {
    cwd: tmpdir(),
    env: { PATH: process.env["PATH"], NATS_URL: shop.server.url },
    stdio: "ignore",
  });
  const ended = once(child, "exit");
  // It can be opened when somebody reads from it.
  let writer: number | undefined;
  await until(() => {
    try {
      writer = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch {}
    return writer !== undefined;
  });
  child.kill("SIGINT");
  expect((await ended)[1]).toBe("SIGINT");
  closeSync(writer as number);
});

test("a call is submitted, with an id, for later, and with a priority", async () => {
  const at = ["--at", "1h", "--priority", "high", "--owner", "acme", "--timeout", "2h"];
  const run = (...args: string[]) =>
    jetrpc(["call", "Play", '{"number": 1}', "--submit", "--descriptors", image, ...args], {
      env: { NATS_URL: shop.server.url },
    });
  expect(await run("--id", "invoice-42", ...at)).toEqual({
    code: 0,
    stderr: "",
    stdout: "invoice-42\n",
  });
  const again = await run("--id", "invoice-42", "--owner", "acme", "--json");
  expect(linesOf(again)).toEqual([
    { service: name, method: "Play", owner: "acme", callId: "invoice-42" },
  ]);
  const { streams } = (await shop.api("STREAM.LIST")) as {
    streams: { config: { name: string }; state: { messages: number } }[];
  };
  expect(streams.find(({ config }) => config.name === "STUDIO_LATER")?.state.messages).toBe(1);
  expect(streams.find(({ config }) => config.name === "STUDIO")?.state.messages).toBe(0);
});

test("on a terminal progress is shown, and Ctrl-C leaves a durable call running", async () => {
  await start();
  const bin = join(import.meta.dirname, "../bin/jetrpc.js");
  const child = spawn(
    "script",
    ["-qec", `${process.execPath} ${bin} call Play '{"number": 3}' --id long-1`, "/dev/null"],
    {
      cwd: tmpdir(),
      env: { PATH: process.env["PATH"], NATS_URL: shop.server.url },
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  let shown = "";
  for await (const chunk of child.stdout) {
    const before = shown;
    shown += chunk;
    if (/\] 3 of 3/.test(shown) && !/\] 3 of 3/.test(before)) {
      child.stdin.write("\x03");
    }
  }
  expect(shown).toContain(`[${"#".repeat(24)}] 3 of 3`);
  expect(shown).toContain('{"number":3}');
  expect(shown).toContain(
    `the call goes on: \`jetrpc calls follow long-1 --method ${name}/Play\` comes back to it`,
  );
  const client = await shop.client(serviceOf(image, name));
  const { play } = client as unknown as { play: (typeof client)["order"] };
  expect(await play.attach("long-1").status()).toMatchObject({ state: "running" });
  await play.attach("long-1").cancel();
});
