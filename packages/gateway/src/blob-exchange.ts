import type { DescMethod } from "@bufbuild/protobuf";
import type { LentExchange } from "./exchange.js";
import type { Log } from "./to-client.js";

/** A request for the bytes of a Blob of a method, by whoever may call that. */
export interface BlobExchange extends LentExchange {
  readonly desc: DescMethod;
  readonly maxBlobBytes: number;
  /** How long an upload may send nothing, in ms. */
  readonly idleMs: number;
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly log: Log;
}
