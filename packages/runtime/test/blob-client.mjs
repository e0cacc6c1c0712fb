// A client process for tests to kill in the middle of an upload. It submits the file
// that its argument names, and says "submitted".
import { blobOf, createClient } from "@jetrpc/runtime";
import { connect, fileBlob } from "@jetrpc/runtime/node";
import { BlobService } from "./gen/test/v1/blob_pb.js";

// Die with the parent, however it goes.
process.stdin.on("end", () => process.exit()).resume();
process.stdin.unref();

const [path, stopAfter] = process.argv.slice(2);
const client = createClient(BlobService, await connect());

/** The file, whose reading stops for ever after some bytes; it is read for its digest first. */
function stopping() {
  let isSecond = false;
  return blobOf(
    async function* () {
      let left = isSecond ? Number(stopAfter) : Number.POSITIVE_INFINITY;
      isSecond = true;
      for await (const piece of fileSource()) {
        if (left <= 0) {
          console.log("stopped");
          await new Promise(() => setInterval(() => undefined, 1_000));
        }
        left -= piece.length;
        yield piece;
      }
    },
    { fileName: "file" },
  );
}

async function* fileSource() {
  const { openBlob } = await import("@jetrpc/runtime");
  yield* openBlob(fileBlob(path));
}

const file = stopAfter ? stopping() : fileBlob(path, { fileName: "file" });
await client.copy.submit({ file }, { callId: "film" });
console.log("submitted");
process.exit();
