import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { nuid } from "@nats-io/nats-core";
import type { AttemptObjects } from "../ledger/log.js";
import type { ResponseEntry, RunningCall } from "../ledger/running.js";
import type { Link } from "../link/link.js";
import { checkSize, encode } from "../message/codec.js";
import { type HeaderBlock, headerSize } from "../message/header.js";
import { isOversize } from "../message/oversize.js";
import { OutgoingBlobs } from "../objects/outgoing-blobs.js";
import { responseTtlMs } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import { holdsBlobs } from "../schema/blob-fields.js";
import { responseSpace } from "../schema/object-name.js";
import type { WorkerSettings } from "./served-method.js";
import type { Steps } from "./steps.js";

/**
 * Makes entries of the messages of a response. A payload that is too large for one, and the
 * bytes of Blobs, become objects.
 */
export class ResponseWriter {
  private base = "";
  private count = 0;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    private readonly running: RunningCall,
    private readonly steps: Steps,
    private readonly settings: Pick<WorkerSettings, "limits" | "liveBytes">,
    /** Ends an upload that is under way. */
    private readonly signal: () => AbortSignal | undefined,
  ) {}

  /** The objects that were stored, or are being stored; undefined when there are none. */
  get objects(): AttemptObjects | undefined {
    return this.base ? { base: this.base, count: this.count } : undefined;
  }

  /** A promise only where an object has to be stored first. */
  entry(
    init: unknown,
    metadata: () => HeaderBlock | undefined,
  ): ResponseEntry | Promise<ResponseEntry> {
    const { output } = this.method.desc;
    const message = init as MessageInitShape<DescMessage>;
    return holdsBlobs(output)
      ? this.storeBlobs(new OutgoingBlobs(output, message, Code.Internal)).then((payload) =>
          this.encoded(payload, metadata()),
        )
      : this.encoded(encode(output, message, Code.Internal), metadata());
  }

  private encoded(
    payload: Uint8Array,
    metadata: HeaderBlock | undefined,
  ): ResponseEntry | Promise<ResponseEntry> {
    const { link, method, settings } = this;
    checkSize(method.desc.output, payload, settings.limits, "writeMaxBytes");
    const fits = !isOversize(payload, headerSize(metadata), link.maxPayload);
    if (fits && this.mayBeLive(payload)) {
      return { payload, objects: this.objects, metadata };
    }
    return this.steps.run(async () => {
      const signal = this.signal();
      try {
        const name = await this.nameObjects(1);
        const object = await link.payloads.put(method.service, name(0), payload, this.options());
        return { payload: new Uint8Array(0), object, objects: this.objects, metadata };
      } catch (error) {
        if (!fits || signal?.aborted) {
          throw error;
        }
        // It is safe in the log as well.
        return { payload, objects: this.objects, metadata };
      }
    });
  }

  /** The messages of a stream are sent one by one: only results come many at once. */
  private mayBeLive({ length }: Uint8Array): boolean {
    const { method, running, settings } = this;
    const { call, request } = running;
    // One that became due was submitted long before it was stored. Where an id was given it
    // cannot be told from a new one.
    const isNew = !request.isReplay || request.digest !== undefined;
    const submittedAtMs = isNew ? request.acceptedAtMs : 0;
    return (
      method.desc.methodKind !== "unary" || settings.liveBytes.take(call, submittedAtMs, length)
    );
  }

  /** Stores the bytes of the Blobs of a response; returns the response. */
  private storeBlobs(blobs: OutgoingBlobs<DescMessage>): Promise<Uint8Array> {
    const { link, method } = this;
    return this.steps.run(async () => {
      const names = await this.nameObjects(blobs.count);
      return blobs.encode(await blobs.store(link, method.service, names, this.options()));
    });
  }

  private options() {
    return { ttlMs: responseTtlMs(this.method.service), signal: this.signal() };
  }

  private async nameObjects(count: number): Promise<(index: number) => string> {
    // The upload may take long: the server hears first that the attempt is alive.
    this.running.request.working();
    if (!this.base) {
      const base = nuid.next();
      await this.running.announceObjects(base);
      this.base = base;
    }
    const first = this.count;
    this.count += count;
    const prefix = `${responseSpace(this.method, this.running.call)}.${this.base}`;
    return (index) => `${prefix}.${first + index}`;
  }
}
