import type { DescMethod } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import type { HttpRequest, HttpResponse } from "./refuse.js";

/** A request for the bytes of a Blob of a method, by whoever may call that. */
export interface BlobExchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly connection: Connection;
  readonly desc: DescMethod;
  readonly maxBlobBytes: number;
  /** How long an upload may send nothing, in ms. */
  readonly idleMs: number;
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly log: (message: string) => void;
}
