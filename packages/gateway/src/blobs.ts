import { Code } from "@connectrpc/connect";
import { bindMethod, holdsBlobs } from "@jetrpc/runtime/schema";
import { answerDownload } from "./blob-download.js";
import type { BlobExchange } from "./blob-exchange.js";
import type { BlobTarget } from "./blob-path.js";
import { answerUpload } from "./blob-upload.js";
import { Refusal } from "./refuse.js";

/** Answers a request for the bytes of a Blob. */
export async function answerBlob(exchange: BlobExchange, target: BlobTarget): Promise<void> {
  const { request, response, desc } = exchange;
  const isUpload = target.callId !== undefined;
  const { input, output } = desc;
  if (bindMethod(desc).delivery !== "durable" || !holdsBlobs(isUpload ? input : output)) {
    const text = `${desc.toString()} has no Blob in its ${isUpload ? "request" : "response"}`;
    throw new Refusal(text, Code.NotFound, 404);
  }
  const methods = ["HEAD", isUpload ? "PUT" : "GET"];
  if (!methods.includes(request.method ?? "")) {
    response.setHeader("allow", methods.join(", "));
    throw new Refusal(`use ${methods.join(" or ")}`, Code.Unimplemented, 405);
  }
  await (isUpload
    ? answerUpload(exchange, target.callId, target.index)
    : answerDownload(exchange, target.object));
}
