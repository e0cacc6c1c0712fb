import { createHash, randomBytes } from "node:crypto";
import { cookieSession } from "@jetrpc/gateway";
import {
  blobOf,
  type ClientConnection,
  Code,
  createClient,
  type DurableServerStreamingMethod,
  type DurableUnaryMethod,
  openBlob,
} from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { BlobService, type FilesSchema } from "../../runtime/test/gen/test/v1/blob_pb.js";
import { collect, failureOf } from "../../runtime/test/support.js";
import { openTunnel } from "./open-tunnel.js";
import { useWeb, ways } from "./support.js";

const web = useWeb();

interface BlobClient {
  copy: DurableUnaryMethod<typeof FilesSchema, typeof FilesSchema>;
  split: DurableServerStreamingMethod<typeof FilesSchema, typeof FilesSchema>;
}

const clientOf = (connection: ClientConnection) =>
  createClient<BlobClient>(BlobService, connection);
/** More than a part of an upload, which has 4 MiB. */
const twoParts = () => randomBytes(5 * 1024 * 1024);
const sum = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const sumOf = async (bytes: AsyncIterable<Uint8Array>) => sum(Buffer.concat(await collect(bytes)));

/** A worker that gives back what it gets. */
async function serveCopies() {
  await web.serve(BlobService, {
    copy: async ({ file, more }) => ({
      ...(file && { file: blobOf(() => openBlob(file), file) }),
      more: more.map((each) => blobOf(() => openBlob(each), each)),
    }),
  });
}

describe.each(ways)("over %s", (way) => {
  test("files go with a call and come with its result", async () => {
    await serveCopies();
    const client = clientOf(await web.connection(way));
    const bytes = twoParts();
    const file = new File([bytes], "film.mp4", { type: "video/mp4" });
    const call = await client.copy.submit(
      {
        file: blobOf(() => file.stream(), { contentType: file.type, fileName: file.name }),
        more: [blobOf(new Uint8Array()), blobOf(new Blob(["a note"]).stream())],
      },
      { callId: `file-${ways.indexOf(way)}` },
    );
    const result = await call.result();
    expect(result.file).toMatchObject({ contentType: "video/mp4", fileName: "film.mp4" });
    expect(await sumOf(openBlob(result.file))).toBe(sum(bytes));
    expect(await sumOf(openBlob(result.more[0]))).toBe(sum(new Uint8Array()));
    expect(Buffer.concat(await collect(openBlob(result.more[1]))).toString()).toBe("a note");
    // Plainly, under an id that the client makes.
    const small = bytes.subarray(0, 300_000);
    const plain = await client.copy({ file: blobOf(small) });
    expect(await sumOf(openBlob(plain.file))).toBe(sum(small));
  });
});

test("an upload goes on where it was cut, and so does a download", async () => {
  await serveCopies();
  const tunnel = await openTunnel();
  tunnel.leadTo((await web.gateway()).url);
  const bytes = randomBytes(13 * 1024 * 1024);
  let sent = 0;
  let reads = 0;
  const connection = web.connectionOf(tunnel.url, {
    fetch: (input, init) => {
      if (init?.method === "PUT") {
        sent += (init.body as Uint8Array).length;
        if (sent === 8 * 1024 * 1024) {
          setTimeout(tunnel.cut, 1);
        }
      }
      reads += Number(init?.method === undefined);
      return fetch(input, init);
    },
  });
  const client = clientOf(connection);
  const call = await client.copy.submit({ file: blobOf(bytes) });
  expect(sent).toBeGreaterThanOrEqual(bytes.length);
  const { file } = await call.result();
  const got: Uint8Array[] = [];
  let cuts = 0;
  let read = 0;
  for await (const chunk of openBlob(file)) {
    got.push(chunk);
    read += chunk.length;
    if (read > (cuts + 1) * 4 * 1024 * 1024 && cuts < 3) {
      cuts++;
      tunnel.cut();
    }
  }
  expect(sum(Buffer.concat(got))).toBe(sum(bytes));
  expect(reads).toBeGreaterThan(1);
});

test("the same call is submitted again with the same file, after a crash and after its end", async () => {
  await serveCopies();
  const { url } = await web.gateway();
  const bytes = twoParts();
  let puts = 0;
  const crashing = clientOf(
    web.connectionOf(url, {
      fetch: (input, init) => {
        puts += Number(init?.method === "PUT");
        return puts > 1 ? Promise.reject(new TypeError("crash")) : fetch(input, init);
      },
    }),
  );
  const leaving = new AbortController();
  const crashed = failureOf(
    crashing.copy.submit({ file: blobOf(bytes) }, { callId: "again", signal: leaving.signal }),
  );
  await expect.poll(() => puts).toBeGreaterThan(1);
  leaving.abort();
  expect((await crashed).code).toBe(Code.Canceled);
  let sent = 0;
  const client = clientOf(
    web.connectionOf(url, {
      fetch: (input, init) => {
        sent += init?.method === "PUT" ? (init.body as Uint8Array).length : 0;
        return fetch(input, init);
      },
    }),
  );
  const call = await client.copy.submit({ file: blobOf(bytes) }, { callId: "again" });
  expect(sent).toBeLessThan(bytes.length);
  expect(await sumOf(openBlob((await call.result()).file))).toBe(sum(bytes));
  // The call has ended, and what was uploaded for it is gone.
  const later = await client.copy.submit({ file: blobOf(bytes) }, { callId: "again" });
  expect(later.id).toBe("again");
  const other = blobOf(twoParts());
  const used = await failureOf(client.copy.submit({ file: other }, { callId: "again" }));
  expect([Code.AlreadyExists, Code.InvalidArgument]).toContain(used.code);
});

test("the same call that is submitted twice at once is one call, and neither fails", async () => {
  await serveCopies();
  const { url } = await web.gateway();
  const bytes = twoParts();
  let finished = 0;
  const [first, second] = [0, 1].map((index) =>
    clientOf(
      web.connectionOf(url, {
        fetch: async (input, init) => {
          if (index === 1 && init?.method === "PUT" && finished === 0) {
            // The second one begins when the first one has completed its upload.
            await expect.poll(() => finished).toBe(1);
          }
          const response = await fetch(input, init);
          finished += Number(index === 0 && response.status === 201);
          return response;
        },
      }),
    ),
  ) as [BlobClient, BlobClient];
  const file = () => blobOf(() => new Blob([bytes]).stream());
  const calls = await Promise.all(
    [first, second].map(({ copy }) => copy.submit({ file: file() }, { callId: "twice" })),
  );
  for (const call of calls) {
    expect(await sumOf(openBlob((await call.result()).file))).toBe(sum(bytes));
  }
});

test("files of any size arrive, those that are as large as parts too", async () => {
  await serveCopies();
  const client = clientOf(await web.connection("the gateway"));
  const part = 4 * 1024 * 1024;
  for (const size of [0, 1, part - 1, part, part + 1, 2 * part]) {
    const bytes = randomBytes(size);
    const file = new File([bytes], "any.bin");
    const { file: copy } = await client.copy({ file: blobOf(() => file.stream()) });
    expect(copy?.size).toBe(BigInt(size));
    expect(await sumOf(openBlob(copy))).toBe(sum(bytes));
  }
});

test("a file that cannot be read any more, and what is no file, are told", async () => {
  const client = clientOf(await web.connection("the gateway"));
  // As a browser says it of a file that was changed after it was chosen.
  const changed = new DOMException("The requested file could not be read", "NotReadableError");
  const unreadable = () =>
    new ReadableStream<Uint8Array>({
      pull: () => {
        throw changed;
      },
    });
  await expect(client.copy.submit({ file: blobOf(unreadable) })).rejects.toBe(changed);
  const texts = () => new Blob(["text"]).stream().pipeThrough(new TextDecoderStream());
  for (const source of [
    texts,
    async function* () {
      yield new ArrayBuffer(8);
    },
  ]) {
    const error = await failureOf(client.copy.submit({ file: blobOf(source as never) }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain("it must give Uint8Arrays");
  }
});

test("an upload that stood still goes on", async () => {
  await serveCopies();
  const { url } = await web.gateway({ limits: { bodyTimeoutMs: 200 } });
  const bytes = twoParts();
  let stalls = 0;
  const client = clientOf(
    web.connectionOf(url, {
      fetch: (input, init) => {
        if (init?.method !== "PUT" || stalls > 0) {
          return fetch(input, init);
        }
        stalls++;
        // As in a tunnel: a part of it, and then nothing.
        const body = new ReadableStream({
          start: (controller) => controller.enqueue((init.body as Uint8Array).slice(0, 300_000)),
        });
        return fetch(input, { ...init, body, duplex: "half" } as RequestInit);
      },
    }),
  );
  const result = await client.copy({ file: blobOf(bytes) });
  expect(stalls).toBe(1);
  expect(await sumOf(openBlob(result.file))).toBe(sum(bytes));
});

test("a page uploads and downloads with the cookie of its session", async () => {
  await serveCopies();
  const session = cookieSession({
    secrets: ["a secret of more than thirty-two bytes"],
    secure: false,
  });
  const { url } = await web.gateway({ authenticate: session });
  const [cookie = ""] = (await session.create({ owner: "ada" })).split(";", 1);
  const methods = new Set<string>();
  // As a browser sends it: without an Origin where it is GET or HEAD.
  const asPage = (more: Record<string, string>) =>
    clientOf(
      web.connectionOf(url, {
        token: undefined,
        fetch: (input, { method = "GET", ...init } = {}) => {
          methods.add(method);
          const headers = new Headers(init.headers);
          const isRead = method === "GET" || method === "HEAD";
          for (const [name, value] of Object.entries(isRead ? {} : { Origin: url, ...more })) {
            headers.set(name, value);
          }
          headers.set("Cookie", cookie);
          return fetch(input, { ...init, method, headers });
        },
      }),
    );
  const bytes = twoParts();
  const call = await asPage({}).copy.submit({ file: blobOf(bytes) }, { callId: "of-a-page" });
  expect(await sumOf(openBlob((await call.result()).file))).toBe(sum(bytes));
  expect([...methods].sort()).toEqual(["GET", "HEAD", "POST", "PUT"]);
  const evil = asPage({ Origin: "https://evil.example.com" });
  for (const callId of ["of-a-page", undefined]) {
    const error = await failureOf(evil.copy.submit({ file: blobOf(bytes) }, { callId }));
    expect(error.code).toBe(Code.PermissionDenied);
  }
});

test("a file with a long name is read", async () => {
  const fileName = `${"名".repeat(4_000)}.txt`;
  await web.serve(BlobService, {
    copy: async () => ({ file: blobOf(Buffer.from("it"), { fileName }) }),
  });
  const { file } = await clientOf(await web.connection("the gateway")).copy({});
  expect(file?.fileName).toBe(fileName);
  expect(Buffer.concat(await collect(openBlob(file))).toString()).toBe("it");
});
