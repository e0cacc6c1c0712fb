import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { blobOf, openBlob } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { expect, test } from "vitest";
import { chance } from "../../../test/chance.js";
import { type BlobClient, bytes } from "../../runtime/test/blob-support.js";
import { BlobService, FilesSchema } from "../../runtime/test/gen/test/v1/blob_pb.js";
import { useProcesses } from "../../runtime/test/process.js";
import { failureOf, gate, until } from "../../runtime/test/support.js";
import { CallService, type Identity } from "../src/index.js";
import { digestOf, offsetOf, put, rest } from "./blob-client.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway, worker } = useGateway();
const startProcess = useProcesses();

const copy = "test.v1.BlobService/Copy";
const uploadPath = (callId: string, index = 0) => `/blobs/${copy}/${callId}/${index}`;

/** Answers with the digest of what came, and the Blob itself. */
const copier = {
  copy: async ({ file }: { file?: Parameters<typeof openBlob>[0] }) => {
    const hash = createHash("sha256");
    for await (const piece of openBlob(file)) {
      hash.update(piece);
    }
    return {
      choice: { case: "text" as const, value: hash.digest("hex") },
      file: blobOf(() => openBlob(file), {
        contentType: file?.contentType,
        fileName: file?.fileName,
      }),
    };
  },
};

const hex = (all: Uint8Array) => createHash("sha256").update(all).digest("hex");

/** Uploads bytes in one go, and gives their Blob. */
async function upload(url: string, callId: string, all: Uint8Array, headers = {}, index = 0) {
  const answer = await put(url + uploadPath(callId, index), all, { headers });
  expect(answer).toMatchObject({ status: 201 });
  return JSON.parse(answer?.text ?? "") as Record<string, string>;
}

test("a file arrives once and right over a connection that is cut ten times, and through a kill of the gateway", async () => {
  await worker(BlobService, copier);
  const env = { NATS_URL: nats.server.url };
  const start = async () => {
    const child = startProcess("../../gateway/test/blob-gateway.mjs", env);
    return { child, url: (await child.hears((line) => line.startsWith("http"))) ?? "" };
  };
  let { child, url } = await start();
  const all = bytes(6 * 1024 * 1024 + 77);
  const path = uploadPath("film");
  const random = chance();
  const cuts = Array.from({ length: 10 }, () => random(all.length));
  for (const [index, cut] of cuts.sort((a, b) => a - b).entries()) {
    const from = await offsetOf(url + path);
    expect(from).toBeLessThanOrEqual(index === 0 ? 0 : (cuts[index - 1] as number));
    const cutAt = Math.max(0, cut - from);
    if (index === 5) {
      // Killed in the middle, and another one takes the rest.
      const killed = child;
      const halfway = () => killed.end("SIGKILL");
      await put(url + path, all.subarray(from), { headers: rest(all, from), cutAt, halfway });
      ({ child, url } = await start());
    } else {
      await put(url + path, all.subarray(from), { headers: rest(all, from), cutAt });
    }
  }
  let answer: Awaited<ReturnType<typeof put>>;
  // What a cut connection left may come to be stored a moment later.
  await until(async () => {
    const from = await offsetOf(url + path);
    answer = await put(url + path, all.subarray(from), { headers: rest(all, from) });
    return answer?.status === 201;
  });
  const blob = JSON.parse(answer?.text ?? "");
  expect(blob).toEqual({
    object: "queue.Copy._._.film.upload.0",
    size: String(all.length),
    digest: digestOf(all),
  });
  const response = await postJson(`${url}/${copy}`, { file: blob }, { "Idempotency-Key": "film" });
  expect(await response.json()).toMatchObject({ text: hex(all) });
});

test("curl's way: whole files, names and types, and what is complete stays", async () => {
  await worker(BlobService, copier);
  const { url } = await gateway();
  const all = bytes(300_000);
  const target = url + uploadPath("one");
  expect(await fetch(target, { method: "HEAD" })).toMatchObject({ status: 200 });
  expect(await offsetOf(target)).toBe(0);
  // An unfinished upload is dropped by a whole one.
  const part = { headers: rest(all, 0, 1000) };
  expect(await put(target, bytes(1000, 2), part)).toMatchObject({
    status: 204,
    headers: { "upload-offset": "1000", "upload-complete": "?0" },
  });
  const headers = {
    "content-type": "video/mp4",
    "content-disposition": "attachment; filename*=UTF-8''a%2Fb%C3%BC.mp4; filename=x",
  };
  const blob = await upload(url, "one", all, headers);
  expect(blob).toMatchObject({ contentType: "video/mp4", fileName: "bü.mp4", size: "300000" });
  const done = await fetch(target, { method: "HEAD" });
  expect(done.headers.get("upload-complete")).toBe("?1");
  expect(done.headers.get("upload-offset")).toBe("300000");
  // Again: the same is no new upload, and another file is refused.
  expect(await put(target, all, { headers })).toMatchObject({ status: 200 });
  const again = await put(target, new Uint8Array(0), {
    headers: { "content-range": "bytes */300000", ...headers },
  });
  expect(again).toMatchObject({
    status: 200,
    text: expect.stringContaining(blob["digest"] ?? "?"),
  });
  for (const other of [bytes(300_000, 9), bytes(10)]) {
    expect(await put(target, other)).toMatchObject({
      status: 409,
      headers: { "upload-complete": "?1", "upload-offset": "300000" },
      text: expect.stringContaining("another call id"),
    });
  }
  expect(await put(target, all.subarray(0, 5), { headers: rest(all, 0, 5) })).toMatchObject({
    status: 409,
  });
  const result = await postJson(`${url}/${copy}`, { file: blob }, { "Idempotency-Key": "one" });
  expect(await result.json()).toMatchObject({ text: hex(all) });
  // Of no bytes, and of a size that is not known before.
  expect(await upload(url, "none", new Uint8Array(0))).toMatchObject({
    digest: digestOf(new Uint8Array(0)),
  });
  expect(await put(url + uploadPath("stream"), all, { chunked: true })).toMatchObject({
    status: 201,
    text: expect.stringContaining(digestOf(all)),
  });
});

test("parts of a size that is not known yet, and a completion without bytes", async () => {
  const { url } = await gateway({ services: [BlobService] });
  const all = bytes(400_000);
  const target = url + uploadPath("parts");
  for (let at = 0; at < all.length; at += 150_000) {
    const piece = all.subarray(at, at + 150_000);
    const headers = { "content-range": `bytes ${at}-${at + piece.length - 1}/*` };
    expect(await put(target, piece, { headers })).toMatchObject({ status: 204 });
  }
  const end = { headers: { "content-range": "bytes */400000" } };
  expect(await put(target, new Uint8Array(0), end)).toMatchObject({
    status: 201,
    text: expect.stringContaining(digestOf(all)),
  });
});

test("what is wrong with an upload is told, and loses nothing that was right", async () => {
  const options = { services: [BlobService], limits: { maxBlobBytes: 1_000_000 } };
  const { url } = await gateway(options);
  const all = bytes(200_000);
  const target = url + uploadPath("wrong");
  const half = all.subarray(0, 100_000);
  await put(target, half, { headers: rest(all, 0, 100_000) });
  const refused = async (
    what: Uint8Array,
    how: Parameters<typeof put>[2],
    status: number,
    text: string,
    offset: string | null = "110000",
  ) => {
    const answer = await put(target, what, how);
    expect([answer?.status, answer?.text]).toEqual([status, expect.stringContaining(text)]);
    expect(answer?.headers["upload-offset"] ?? null).toBe(offset);
  };
  // From before what is there it is passed over, and seen when it differs; behind it is refused.
  const before = { headers: rest(all, 50_000, 110_000) };
  expect(await put(target, all.subarray(50_000, 110_000), before)).toMatchObject({
    status: 204,
    headers: { "upload-offset": "110000" },
  });
  const fewer = { headers: { "content-range": "bytes */90000" } };
  await refused(new Uint8Array(0), fewer, 409, "more than the file's 90000", "110000");
  const second = target.replace("/wrong/", "/differs/");
  await put(second, half, { headers: rest(all, 0, 100_000) });
  const differs = await put(second, bytes(150_000, 5), { headers: rest(all, 50_000) });
  expect(differs).toMatchObject({ status: 409, text: expect.stringContaining("whole file anew") });
  const behind = { headers: rest(all, 150_000) };
  await refused(all.subarray(150_000), behind, 409, "110000 bytes");
  await refused(half, { headers: { "content-range": "bytes */200000" } }, 400, "body", null);
  await refused(
    new Uint8Array(0),
    { headers: { "content-range": "bytes */200000" } },
    409,
    "110000 bytes",
  );
  for (const range of ["bytes 5-4/9", "bytes 0-9/5", "bytes 1", "lines 0-9/9", "bytes 0-1e9/*"]) {
    await refused(half, { headers: { "content-range": range } }, 400, "Content-Range", null);
  }
  // Another length than it says, seen before the body and only after it.
  const short = { headers: rest(all, 110_000) };
  await refused(all.subarray(110_000, 160_000), short, 400, "body has 50000", null);
  const more = { chunked: true, headers: rest(all, 110_000, 110_010) };
  await refused(all.subarray(110_000), more, 400, "more than the 10 bytes", "110010");
  const less = { chunked: true, headers: rest(all, 110_010) };
  await refused(all.subarray(110_010, 120_000), less, 400, "has 9990 bytes", "120000");
  // Too large, as it says and as it comes.
  await refused(
    half,
    { headers: { "content-range": "bytes 0-99999/1000001" } },
    413,
    "1000000",
    null,
  );
  const large = { chunked: true };
  const huge = await put(url + uploadPath("huge"), bytes(1_000_001), large);
  expect(huge).toMatchObject({ status: 413, headers: { "upload-offset": "1000000" } });
  const zipped = { headers: { ...rest(all, 120_000), "content-encoding": "gzip" } };
  await refused(all.subarray(120_000), zipped, 400, "gzip", null);
  // A connection that says nothing.
  const silent = { headers: rest(all, 120_000), halfway: () => new Promise(() => undefined) };
  const hasty = await gateway({ ...options, limits: { bodyTimeoutMs: 2_000 } });
  const waits = put(hasty.url + uploadPath("wrong"), all.subarray(120_000), silent);
  await until(async () => (await offsetOf(target)) === 120_000 + 65_536);
  void waits;
  // A digest that is not that of the bytes: they go.
  const sent = all.subarray(120_000 + 65_536);
  const other = createHash("sha256").update("x").digest("base64");
  const digested = {
    headers: { ...rest(all, 120_000 + 65_536), "repr-digest": `sha-256=:${other}:` },
  };
  await refused(sent, digested, 400, "have the digest", "0");
  await until(async () => (await offsetOf(target)) === 0);
  const right = createHash("sha256").update(all).digest("base64");
  expect(
    await put(target, all, { headers: { "repr-digest": `sha-256=:${right}:` } }),
  ).toMatchObject({ status: 201 });
});

test("of two uploads of one name the later one goes on, and the earlier one is told", async () => {
  const { url } = await gateway({ services: [BlobService] });
  const target = url + uploadPath("two");
  const [one, two] = [bytes(8_000_000, 1), bytes(8_000_000, 2)];
  const begun = gate();
  const goOn = gate();
  const earlier = put(target, one, {
    halfway: () => {
      begun.open();
      return goOn.opened;
    },
  });
  await begun.opened;
  await until(async () => (await offsetOf(target)) > 0);
  const later = await put(target, two);
  expect(later).toMatchObject({ status: 201, text: expect.stringContaining(digestOf(two)) });
  goOn.open();
  expect((await earlier)?.status ?? 409).toBe(409);
  // And both at once: one of them arrives, as it is.
  const race = url + uploadPath("race");
  const both = await Promise.all([put(race, one), put(race, two)]);
  const done = both.filter((answer) => answer?.status === 201);
  expect(done).toHaveLength(1);
  const digest = JSON.parse(done[0]?.text ?? "").digest;
  expect(digest).toBe(digestOf(both[0] === done[0] ? one : two));
});

test("an owner reaches the own objects only", async () => {
  await worker(BlobService, copier);
  const identities = new Map<string, Identity>([
    ["Bearer a", { owner: "a" }],
    ["Bearer b", { owner: "b" }],
    ["Bearer c", { owner: "a", methods: ["test.v1.BlobService/Split"] }],
  ]);
  const { url } = await gateway({
    authenticate: ({ headers }) => identities.get(headers.get("authorization") ?? ""),
  });
  const as = (who: string) => ({ authorization: `Bearer ${who}` });
  const all = bytes(1000);
  expect(await put(url + uploadPath("x"), all)).toMatchObject({ status: 401 });
  expect(await put(url + uploadPath("x"), all, { headers: as("c") })).toMatchObject({
    status: 403,
  });
  const blob = await upload(url, "x", all, as("a"));
  expect(blob["object"]).toBe("queue.Copy.a._.x.upload.0");
  const other = await fetch(url + uploadPath("x"), { method: "HEAD", headers: as("b") });
  expect(other.headers.get("upload-offset")).toBe("0");
  const submit = (who: string, object: unknown, callId = "x") =>
    postJson(
      `${url}/${copy}`,
      { file: { ...blob, object } },
      { ...as(who), "Idempotency-Key": callId },
    );
  const forged = [
    blob["object"],
    "queue.Copy.b._.y.upload.0",
    "queue.Copy.b._.x.upload.>",
    "queue.Copy.*._.x.upload.0",
    "log.Copy.b._.x.upload.0",
    "queue.Split.b._.x.upload.0",
    "../queue.Copy.a._.x.upload.0",
  ];
  for (const object of forged) {
    expect([object, (await submit("b", object)).status]).toEqual([object, 403]);
  }
  for (const object of ["queue.Copy.b._.x.upload.0.1", "queue.Copy.b._.x.upload.-1", ""]) {
    expect([object, (await submit("b", object)).status]).toEqual([object, 400]);
  }
  // Of another call of the same owner.
  expect((await submit("a", blob["object"], "y")).status).toBe(403);
  // Paths that try.
  for (const path of [
    `/blobs/${copy}/x%2F..%2Fy/0`,
    `/blobs/${copy}/*/0`,
    `/blobs/${copy}/%3E/0`,
    `/blobs/${copy}/x.y/0`,
    `/blobs/${copy}/x/10000`,
    `/blobs/${copy}/x/-1`,
    `/blobs/${copy}/x/1e1`,
    `/blobs/${copy}/x/0/1`,
    `/blobs/test.v1.BlobService/Nothing/x/0`,
    `/blobs/test.v1.Nothing/Copy/x/0`,
    `/blobs/`,
  ]) {
    const answer = await put(url + path, all, { headers: as("a") });
    expect([path, answer?.status]).toEqual([path, expect.toSatisfy((it) => it >= 400 && it < 405)]);
  }
  const done = await submit("a", blob["object"]);
  const { file } = (await done.json()) as { file: Record<string, string> };
  const query = new URLSearchParams({ ...file });
  const get = (who: string, object: string) =>
    fetch(`${url}/blobs/test.v1.BlobService/${object}?${query}`, { headers: as(who) });
  const object = file["object"] ?? "";
  expect((await get("a", object)).status).toBe(200);
  for (const name of [
    object,
    object.replace(".a.", ".b."),
    object.replace(".a.", ".*."),
    object.replace(".Copy.", ".*."),
    "log.Copy.b.>",
    "log.Copy.b._.x.%3E.0",
    `..%2F${object}`,
  ]) {
    expect([name, (await get("b", name)).status]).toEqual([name, 404]);
  }
  expect((await get("c", object)).status).toBe(403);
  // The objects of requests are for workers.
  expect((await get("a", blob["object"] ?? "")).status).toBe(404);
});

test("a download: ranges, names and types, and nothing that runs", async () => {
  await worker(BlobService, copier);
  const { url } = await gateway();
  const all = bytes(3_000_000);
  const uploaded = await upload(url, "film", all, {
    "content-type": "text/html",
    "content-disposition": `attachment; filename="a\\"b.html"`,
  });
  const response = await postJson(
    `${url}/${copy}`,
    { file: uploaded },
    { "Idempotency-Key": "film" },
  );
  const { file } = (await response.json()) as { file: Record<string, string> };
  const link = (more: Record<string, string> = {}) => {
    const { object, ...fields } = file;
    return `${url}/blobs/test.v1.BlobService/${object}?${new URLSearchParams({ ...fields, ...more })}`;
  };
  const whole = await fetch(link());
  expect(whole.status).toBe(200);
  expect(Buffer.compare(Buffer.from(await whole.arrayBuffer()), all)).toBe(0);
  expect(Object.fromEntries(whole.headers)).toMatchObject({
    "content-type": "text/html",
    "content-length": "3000000",
    "content-disposition": `attachment; filename="a_b.html"; filename*=UTF-8''a%22b.html`,
    "accept-ranges": "bytes",
    "x-content-type-options": "nosniff",
    "content-security-policy": expect.stringContaining("sandbox"),
  });
  const etag = whole.headers.get("etag") ?? "";
  const ranges: [string, number, number][] = [
    ["bytes=0-0", 0, 1],
    ["bytes=100-199", 100, 200],
    ["bytes=131071-131073", 131_071, 131_074],
    ["bytes=2500000-2600000", 2_500_000, 2_600_001],
    ["bytes=2999999-", 2_999_999, 3_000_000],
    ["bytes=2000000-9999999", 2_000_000, 3_000_000],
    ["bytes=-5", 2_999_995, 3_000_000],
  ];
  for (const [range, start, end] of ranges) {
    const part = await fetch(link(), { headers: { range, "if-range": etag } });
    expect([range, part.status, part.headers.get("content-range")]).toEqual([
      range,
      206,
      `bytes ${start}-${end - 1}/3000000`,
    ]);
    expect(hex(Buffer.from(await part.arrayBuffer()))).toBe(hex(all.subarray(start, end)));
  }
  const beyond = await fetch(link(), { headers: { range: "bytes=3000000-" } });
  expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */3000000"]);
  const changed = await fetch(link(), { headers: { range: "bytes=0-1", "if-range": '"other"' } });
  expect(changed.status).toBe(200);
  await changed.body?.cancel();
  const known = await fetch(link(), { headers: { "if-none-match": etag } });
  expect(known.status).toBe(304);
  const head = await fetch(link(), { method: "HEAD", headers: { range: "bytes=0-9" } });
  expect([head.status, head.headers.get("content-length")]).toEqual([206, "10"]);
  // Pages are not shown, pictures are; a type that is none is not passed on.
  const disposition = async (more: Record<string, string>) => {
    const { headers, body } = await fetch(link(more));
    await body?.cancel();
    return [headers.get("content-disposition")?.split(";")[0], headers.get("content-type")];
  };
  expect(await disposition({ inline: "" })).toEqual(["attachment", "text/html"]);
  const png = { contentType: "image/png" };
  expect(await disposition({ inline: "", ...png })).toEqual(["inline", "image/png"]);
  expect(await disposition(png)).toEqual(["attachment", "image/png"]);
  const svg = { contentType: "image/svg+xml", inline: "" };
  expect(await disposition(svg)).toEqual(["attachment", "image/svg+xml"]);
  const odd = { contentType: "text/html\r\nset-cookie: a=b", fileName: "../a\r\nb: c" };
  expect(await disposition(odd)).toEqual(["attachment", "application/octet-stream"]);
  // Not as the URL says: it ends before its last byte, or is not there.
  const other = `SHA-256=${createHash("sha256").update("x").digest("base64url")}=`;
  await expect(fetch(link({ digest: other })).then((its) => its.arrayBuffer())).rejects.toThrow();
  const gone = await fetch(link().replace("._.film.", "._.none."));
  expect(gone.status).toBe(404);
  expect((await fetch(link({ size: "" }))).status).toBe(400);
  expect((await fetch(link(), { method: "POST" })).status).toBe(405);
});

test("all ways to submit take uploads, and one that is missing is told at once", async () => {
  let calls = 0;
  await worker(BlobService, {
    copy: (request) => {
      calls++;
      return copier.copy(request);
    },
    async *split({ more }) {
      for (const file of more) {
        yield { file: blobOf(() => openBlob(file)) };
      }
    },
  });
  const { url } = await gateway();
  const all = bytes(5000);
  const blob = await upload(url, "json", all);
  const withKey = (callId: string) => ({ "Idempotency-Key": callId });
  const missing = { ...blob, object: "queue.Copy._._.json.upload.7" };
  const failures: [unknown, Record<string, string>, string, string][] = [
    [{ file: blob }, {}, "invalid_argument", "Idempotency-Key"],
    [{ file: missing }, withKey("json"), "failed_precondition", "is not there"],
    [{ file: { ...blob, size: "4999" } }, withKey("json"), "failed_precondition", "other bytes"],
    [{ file: {} }, withKey("json"), "invalid_argument", "upload it"],
    [
      { inner: { named: { x: { ...blob, digest: "x" } } } },
      withKey("json"),
      "invalid_argument",
      "upload it",
    ],
  ];
  await put(url + uploadPath("part"), all.subarray(0, 10), { headers: rest(all, 0, 10) });
  const part = { ...blob, object: "queue.Copy._._.part.upload.0" };
  failures.push([{ file: part }, withKey("part"), "failed_precondition", "not complete"]);
  for (const [request, headers, code, text] of failures) {
    const answer = await postJson(`${url}/${copy}`, request, headers);
    expect(await answer.json()).toMatchObject({ code, message: expect.stringContaining(text) });
  }
  expect(calls).toBe(0);
  const accepted = await postJson(
    `${url}/${copy}`,
    { file: blob },
    { ...withKey("json"), Prefer: "respond-async" },
  );
  expect(accepted.status).toBe(202);
  const { result } = (await accepted.json()) as { result: string };
  expect(await (await fetch(url + result)).json()).toMatchObject({ response: { text: hex(all) } });
  // Again, when the call has ended and its objects are gone.
  const again = await postJson(`${url}/${copy}`, { file: blob }, withKey("json"));
  expect(await again.json()).toMatchObject({ text: hex(all) });
  expect(calls).toBe(1);

  const messageOf = ({ object = "", size = "", digest = "" }: Record<string, string>) =>
    create(FilesSchema, { more: [{ object, size: BigInt(size), digest }] });
  const calling = createClient(
    CallService,
    createConnectTransport({ baseUrl: url, httpVersion: "2" }),
  );
  const second = await (async () => {
    const answer = await put(`${url}/blobs/test.v1.BlobService/Split/split/3`, all);
    return JSON.parse(answer?.text ?? "") as Record<string, string>;
  })();
  const method = "test.v1.BlobService/Split";
  const request = anyPack(FilesSchema, messageOf(second));
  await calling.submit({ method, request, callId: "split" });
  const grpc = createClient(BlobService, createGrpcTransport({ baseUrl: url }));
  const heard: string[] = [];
  for await (const { file } of grpc.split(messageOf(second), {
    headers: { "idempotency-key": "split" },
  })) {
    heard.push(file?.digest ?? "");
  }
  expect(heard).toEqual([digestOf(all)]);
  const noKey = grpc.split(messageOf(second))[Symbol.asyncIterator]().next();
  expect((await failureOf(noKey)).code).toBe(Code.InvalidArgument);
});

test("a client of NATS and one of HTTP that submit the same bytes submit one call", async () => {
  let calls = 0;
  await worker(BlobService, {
    copy: (request) => {
      calls++;
      return copier.copy(request);
    },
  });
  const { url } = await gateway();
  const connection = await nats.connect();
  const { createClient: createNatsClient } = await import("@jetrpc/runtime");
  const client = createNatsClient<BlobClient>(BlobService, connection);
  const all = bytes(200_000);
  const info = { contentType: "image/png", fileName: "a.png" };
  const named = { more: [blobOf(() => pieces(all), info)], data: new Uint8Array(3) };
  const headers = { "content-type": "image/png", "content-disposition": "x; filename=a.png" };
  await client.copy.submit({ file: named.more[0], data: named.data }, { callId: "nats-first" });
  const blob = await upload(url, "nats-first", all, headers);
  const first = { file: blob, data: "AAAA" };
  const key = { "Idempotency-Key": "nats-first" };
  expect(await (await postJson(`${url}/${copy}`, first, key)).json()).toMatchObject({
    text: hex(all),
  });
  const later = await upload(url, "http-first", all, headers);
  const second = { file: later, data: "AAAA" };
  await postJson(`${url}/${copy}`, second, { "Idempotency-Key": "http-first" });
  const call = await client.copy.submit(
    { file: blobOf(() => pieces(all), info), data: new Uint8Array(3) },
    { callId: "http-first" },
  );
  expect((await call.result()).choice.value).toBe(hex(all));
  expect(calls).toBe(2);
  // Another file is another call.
  const wrong = await failureOf(
    client.copy.submit({ file: blobOf(all.subarray(1), info) }, { callId: "http-first" }),
  );
  expect(wrong.code).toBe(Code.AlreadyExists);
});

async function* pieces(all: Uint8Array): AsyncGenerator<Uint8Array> {
  yield all;
}

test("uploads go with their call, and by a sweep when it was never submitted", async () => {
  const held = gate();
  await worker(BlobService, {
    copy: async (request) => {
      await held.opened;
      return copier.copy(request);
    },
  });
  const { url } = await gateway();
  const all = bytes(200_000);
  await upload(url, "left", all);
  await put(url + uploadPath("half"), all.subarray(0, 1000), { headers: rest(all, 0, 1000) });
  const used = await upload(url, "used", all, {}, 2);
  const headers = { "Idempotency-Key": "used", Prefer: "respond-async" };
  await postJson(`${url}/${copy}`, { file: used }, headers);
  const operator = createOperator(await nats.connect(), BlobService);
  expect(await operator.sweepPayloads({ olderThanMs: 0 })).toBe(2);
  const there = (callId: string, index = 0) => offsetOf(url + uploadPath(callId, index));
  expect([await there("left"), await there("half"), await there("used", 2)]).toEqual([
    0, 0, 200_000,
  ]);
  held.open();
  const result = await postJson(`${url}/${copy}`, { file: used }, { "Idempotency-Key": "used" });
  expect(await result.json()).toMatchObject({ text: hex(all) });
  await until(async () => (await there("used", 2)) === 0);
});
