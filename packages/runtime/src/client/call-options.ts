import type { CallOptions as ConnectCallOptions } from "@connectrpc/connect";

/** Options of a call: Connect's, each of which may be undefined as well. */
export type CallOptions = {
  [O in keyof ConnectCallOptions]: ConnectCallOptions[O] | undefined;
};
