import {
  clone,
  create,
  type DescMessage,
  type DescMethod,
  isMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Blob } from "@jetrpc/runtime";
import { attach, blobsIn, holdsBlobs, sourceOf } from "@jetrpc/runtime/caller";
import type { Persistence } from "./attempts.js";
import { downloadBlob } from "./blob-download.js";
import { BlobUpload } from "./blob-upload.js";
import type { Waits } from "./wait.js";

/** The Blobs of calls, which go over HTTP beside the messages. */
export class GatewayBlobs {
  constructor(
    private readonly url: string,
    private readonly fetch: typeof globalThis.fetch,
    private readonly waits: Waits,
  ) {}

  /** Uploads the Blobs of a request; returns it as it is submitted. `isNamed` is whether the caller chose the call id. */
  async upload<I extends DescMessage>(
    { input, parent, name }: DescMethod & { input: I },
    callId: string,
    init: MessageInitShape<I>,
    isNamed: boolean,
    persistence: Persistence,
  ): Promise<MessageInitShape<I>> {
    if (!holdsBlobs(input)) {
      return init;
    }
    const message = isMessage(init, input) ? init : create(input, init);
    const sources = blobsIn(input, message).map(sourceOf);
    const sent = clone(input, message as MessageShape<I>);
    for (const [index, blob] of blobsIn(input, sent).entries()) {
      const url = this.address(`${parent.typeName}/${name}/${encodeURIComponent(callId)}/${index}`);
      const upload = new BlobUpload(url, this.fetch, persistence);
      const stored = await upload.run(sources[index] as (typeof sources)[0], isNamed);
      const { object, size = "0", digest } = stored;
      Object.assign(blob, { object, size: BigInt(size), digest });
    }
    return sent as MessageInitShape<I>;
  }

  /** Lets the Blobs of a message that came in be read. */
  bind({ output, parent }: DescMethod, message: Message): void {
    for (const blob of blobsIn(output, message)) {
      const open = () => this.read(parent.typeName, blob);
      attach(blob, { open, isRereadable: true });
    }
  }

  private async *read(service: string, blob: Blob): AsyncGenerator<Uint8Array, void, undefined> {
    const { object, size, digest } = blob;
    const fields = new URLSearchParams({ size: String(size), digest });
    const url = this.address(`${service}/${encodeURIComponent(object)}?${fields}`);
    const wait = this.waits.begin();
    try {
      yield* downloadBlob(url, blob, this.fetch, { signal: wait.signal });
    } finally {
      wait.end();
    }
  }

  private address(path: string): string {
    return `${this.url.replace(/\/$/, "")}/blobs/${path}`;
  }
}
