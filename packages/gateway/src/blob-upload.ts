import { createHash } from "node:crypto";
import { create, toJsonString } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { BlobSchema } from "@jetrpc/runtime/jetrpc/v1/blob_pb.js";
import { type BlobUpload, openUpload } from "@jetrpc/runtime/node";
import type { BlobExchange } from "./blob-exchange.js";
import { askForBody } from "./exchange.js";
import { fileNameOf } from "./file-name.js";
import { type Answer, Refusal, refusal, send } from "./refuse.js";
import { toClient } from "./to-client.js";
import { tooLarge, UploadBody } from "./upload-body.js";
import { expectedDigest, partOf, type UploadPart } from "./upload-part.js";

/** Answers a PUT or HEAD of a Blob of a call that is not submitted yet. */
export async function answerUpload(
  exchange: BlobExchange,
  callId: string,
  index: number,
): Promise<void> {
  const { request, response, connection, desc } = exchange;
  const upload = await openUpload(connection, desc, callId, index);
  const answer = await new UploadRequest(exchange, upload).answer();
  await send(request, response, answer);
}

class UploadRequest {
  /** True when it is known how much is there. */
  private isKnown = false;

  constructor(
    private readonly exchange: BlobExchange,
    private readonly upload: BlobUpload,
  ) {}

  async answer(): Promise<Answer> {
    const { request, log } = this.exchange;
    try {
      const answer = request.method === "HEAD" ? await this.look() : await this.put();
      return { ...answer, headers: { ...answer.headers, ...this.progress() } };
    } catch (error) {
      const its = refusal(
        undefined,
        toClient(error, log),
        error instanceof Refusal ? error.status : undefined,
      );
      return { ...its, headers: { ...its.headers, ...this.progress() } };
    }
  }

  private async look(): Promise<Answer> {
    await this.refresh();
    return { status: 200, headers: {} };
  }

  private async put(): Promise<Answer> {
    const { upload } = this;
    const { request, response, maxBlobBytes, idleMs, signal } = this.exchange;
    const part = partOf(request.headers);
    const expected = expectedDigest(request.headers);
    const { first, length, total, isWhole } = part;
    if (Math.max(total ?? 0, (first ?? 0) + (length ?? 0)) > maxBlobBytes) {
      throw tooLarge(maxBlobBytes);
    }
    await this.refresh();
    const maxBytes = maxBlobBytes - (first ?? 0);
    const body = new UploadBody(request, { length, maxBytes, idleMs, signal });
    if (upload.object) {
      return await this.putAgain(part, body, expected);
    }
    const offset = isWhole ? 0 : (first ?? total ?? 0);
    if (offset > upload.bytes) {
      const text = `the upload has ${upload.bytes} bytes: go on from there, not from ${offset}`;
      throw new ConnectError(text, Code.Aborted);
    }
    askForBody(request, response);
    await upload.append(offset, body.read());
    body.check();
    if (!isWhole && upload.bytes > (total ?? upload.bytes)) {
      const text = `the upload has ${upload.bytes} bytes, more than the file's ${total}`;
      throw new ConnectError(text, Code.Aborted);
    }
    if (!isWhole && upload.bytes !== total) {
      return { status: 204, headers: {} };
    }
    await upload.complete(expected);
    return this.blob(201);
  }

  /** A complete upload is not written any more; who sends the same again may not know that. */
  private async putAgain(
    { total, length, isWhole }: UploadPart,
    body: UploadBody,
    expected: string | undefined,
  ): Promise<Answer> {
    const { name = "", size, digest } = this.upload.object ?? {};
    const isSame =
      (expected ?? digest) === digest &&
      ((!isWhole && length === 0 && total === size) ||
        (isWhole && (total ?? size) === size && (await this.digestOf(body)) === digest));
    if (!isSame) {
      const text = `${name} is complete, with ${size} bytes and digest ${digest}: another file needs another call id`;
      throw new ConnectError(text, Code.Aborted);
    }
    return this.blob(200);
  }

  private async digestOf(body: UploadBody): Promise<string> {
    const hash = createHash("sha256");
    askForBody(this.exchange.request, this.exchange.response);
    for await (const piece of body.read()) {
      hash.update(piece);
    }
    body.check();
    return `SHA-256=${hash.digest("base64").replaceAll("+", "-").replaceAll("/", "_")}`;
  }

  private blob(status: number): Answer {
    const { name: object = "", size = 0, digest = "" } = this.upload.object ?? {};
    const { headers } = this.exchange.request;
    const blob = create(BlobSchema, {
      object,
      size: BigInt(size),
      digest,
      contentType: headers["content-type"] ?? "",
      fileName: fileNameOf(headers["content-disposition"]),
    });
    const body = `${toJsonString(BlobSchema, blob)}\n`;
    return { status, headers: { "content-type": "application/json" }, body };
  }

  private async refresh(): Promise<void> {
    await this.upload.refresh();
    this.isKnown = true;
  }

  private progress(): Record<string, string> {
    const { bytes, object } = this.upload;
    return this.isKnown
      ? {
          "upload-offset": String(bytes),
          "upload-complete": object ? "?1" : "?0",
          "cache-control": "no-store",
        }
      : {};
  }
}
