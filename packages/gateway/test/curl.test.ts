import { execFile, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { blobOf, Code, ConnectError, openBlob, permanent } from "@jetrpc/runtime";
import { afterAll, describe, expect, test } from "vitest";
import { bytes, sha256 } from "../../runtime/test/blob-support.js";
import { BlobService } from "../../runtime/test/gen/test/v1/blob_pb.js";
import { until } from "../../runtime/test/support.js";
import { offsetOf } from "./blob-client.js";
import { useGateway } from "./support.js";

const { nats, gateway, worker } = useGateway();

const hasCurl = spawnSync("curl", ["--version"]).status === 0;
const folder = mkdtempSync(join(tmpdir(), "jetrpc-curl-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What curl prints, and its exit code. */
async function curl(...args: string[]): Promise<{ text: string; code: number }> {
  try {
    const { stdout } = await promisify(execFile)("curl", ["--silent", ...args]);
    return { text: stdout, code: 0 };
  } catch (error) {
    const { stdout, code } = error as { stdout: string; code: number };
    return { text: stdout, code };
  }
}

/** JSON by curl: the status, and what was answered. */
async function json(url: string, body: string, ...args: string[]) {
  const type = ["--header", "Content-Type: application/json", "--data", body];
  const { text } = await curl(...type, "--write-out", "\n%{http_code}", ...args, url);
  const end = text.lastIndexOf("\n");
  const answer = JSON.parse(text.slice(0, end) || "null");
  return { status: Number(text.slice(end + 1)), answer };
}

describe.skipIf(!hasCurl && !process.env["CI"])("curl", () => {
  test.each([["--http1.1"], ["--http2-prior-knowledge"]])(
    "%s: calls, errors, deadlines, and a call that it does not wait for",
    async (version) => {
      await nats.worker({
        get: async ({ text }, { signal }) => {
          if (text === "slow") {
            await new Promise((resolve) => signal.addEventListener("abort", resolve));
          }
          if (text === "bad") {
            throw new ConnectError("it is bad", Code.NotFound);
          }
          return { text: text.toUpperCase() };
        },
        do: ({ text }) => {
          if (text === "bad") {
            throw permanent(new ConnectError("it is bad", Code.FailedPrecondition));
          }
          return { text: `done ${text}` };
        },
      });
      const { url } = await gateway();
      const get = `${url}/test.v1.TestService/Get`;
      expect(await json(get, '{"text": "a"}', version)).toEqual({
        status: 200,
        answer: { text: "A" },
      });
      expect(await json(get, '{"text": "bad"}', version)).toEqual({
        status: 404,
        answer: { code: "not_found", message: "it is bad" },
      });
      expect(await json(get, "{", version)).toMatchObject({ status: 400 });
      const query = `encoding=json&message=${encodeURIComponent('{"text":"b"}')}`;
      expect((await curl(version, `${get}?${query}`)).text).toBe('{"text":"B"}');
      const deadline = ["--header", "Connect-Timeout-Ms: 200"];
      expect(await json(get, '{"text": "slow"}', version, ...deadline)).toMatchObject({
        status: 504,
        answer: { code: "deadline_exceeded" },
      });
      const act = `${url}/test.v1.TestService/Do`;
      expect(await json(act, '{"text": "x"}', version)).toMatchObject({
        answer: { text: "done x" },
      });
      expect(await json(act, '{"text": "bad"}', version)).toMatchObject({
        status: 400,
        answer: { code: "failed_precondition" },
      });
      const later = ["--header", "Prefer: respond-async"];
      const accepted = await json(act, '{"text": "later"}', version, ...later);
      expect(accepted.status).toBe(202);
      const result = await curl(version, url + accepted.answer.result);
      expect(JSON.parse(result.text)).toMatchObject({ response: { text: "done later" } });
    },
  );

  test("a file goes up and comes down, both cut in the middle and gone on with", async () => {
    await worker(BlobService, {
      copy: ({ file }) => ({ file: blobOf(() => openBlob(file)) }),
    });
    const { url } = await gateway();
    const all = bytes(6_000_000);
    const [from, to] = [join(folder, "from.bin"), join(folder, "to.bin")];
    writeFileSync(from, all);
    const copy = "test.v1.BlobService/Copy";
    const upload = `${url}/blobs/${copy}/curl-1/0`;

    const cut = spawn("curl", ["--silent", "--limit-rate", "1M", "--upload-file", from, upload]);
    const isCut = new Promise((resolve) => cut.once("exit", resolve));
    await until(async () => (await offsetOf(upload)) > 0);
    cut.kill("SIGKILL");
    await isCut;
    let blob = "";
    // What the cut connection left may come to be stored a moment later.
    await until(async () => {
      const at = await offsetOf(upload);
      const sent = await curl("--fail", "-C", `${at}`, "--upload-file", from, upload);
      blob = sent.text;
      return sent.code === 0;
    });
    expect(JSON.parse(blob)).toMatchObject({ size: "6000000" });

    const key = ["--header", "Idempotency-Key: curl-1"];
    const { answer } = await json(`${url}/${copy}`, `{"file": ${blob}}`, ...key);
    const { object, ...fields } = answer.file;
    const link = `${url}/blobs/test.v1.BlobService/${object}?${new URLSearchParams(fields)}`;
    const reading = spawn("curl", ["--silent", "--limit-rate", "1M", "--output", to, link]);
    const isRead = new Promise((resolve) => reading.once("exit", resolve));
    await until(() => (statSync(to, { throwIfNoEntry: false })?.size ?? 0) > 100_000);
    reading.kill("SIGKILL");
    await isRead;
    expect(statSync(to).size).toBeLessThan(all.length);
    expect(await curl("--fail", "-C", "-", "--output", to, link)).toMatchObject({ code: 0 });
    expect(sha256(readFileSync(to))).toBe(sha256(all));
    const part = await curl("--range", "10-19", "--output", to, link);
    expect(part.code).toBe(0);
    expect(sha256(readFileSync(to))).toBe(sha256(all.subarray(10, 20)));
  });
});
