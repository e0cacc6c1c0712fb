import type { DescMessage } from "@bufbuild/protobuf";
import type { StreamResponse } from "@connectrpc/connect";
import type { Watch } from "../link/observer.js";
import { canceled } from "../link/pending-reply.js";
import { watchMessages } from "../link/watched-messages.js";
import { toConnectError } from "../message/thrown.js";

/** Makes a call, watched until its promise is settled. */
export function watchCall<T>(watch: Watch | undefined, call: () => Promise<T>): Promise<T> {
  if (!watch) {
    return call();
  }
  // Async: an interceptor may throw at once.
  return watch
    .run(async () => call())
    .then(
      (value) => {
        watch.end();
        return value;
      },
      (error) => {
        watch.end(toConnectError(error));
        throw error;
      },
    );
}

/** Ends the watch of a stream that nobody can read any more. */
const forgotten = new FinalizationRegistry<() => void>((leave) => leave());

/**
 * Opens a stream, watched until its last message is read, its reader leaves, its signal fires, or
 * it is lost or out of time. Of one that is forgotten with messages that were not read, the
 * watch ends when that is found out.
 */
export async function watchStream<I extends DescMessage, O extends DescMessage>(
  watch: Watch,
  signal: AbortSignal | undefined,
  open: () => Promise<StreamResponse<I, O>>,
): Promise<StreamResponse<I, O>> {
  const leave = () => end(canceled(signal));
  const end = (error?: unknown) => {
    signal?.removeEventListener("abort", leave);
    watch.end(error === undefined ? undefined : toConnectError(error));
  };
  signal?.addEventListener("abort", leave);
  try {
    const response = await watch.run(open);
    const message = watchMessages(watch, response.message, "received", end);
    forgotten.register(message, leave);
    return { ...response, message };
  } catch (error) {
    end(error);
    throw error;
  }
}
