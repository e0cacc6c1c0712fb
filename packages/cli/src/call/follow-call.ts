import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { Call, MessagesOptions, SubmitOptions, UnaryCall } from "@jetrpc/runtime";
import type { ProgressBar } from "./progress-bar.js";
import type { ResponsePrinter } from "./response-printer.js";

/** A durable call, whose messages are of any type. */
export type AnyCall = Call & {
  /** Of a unary method only. */
  readonly result?: UnaryCall<DescMessage>["result"];
  /** Of a method with a streamed response only. */
  readonly messages?: (options?: MessagesOptions) => AsyncIterable<Message>;
};

/** A durable method of any type. */
export interface AnyDurableMethod {
  submit(request: Message, options?: SubmitOptions): Promise<AnyCall>;
  attach(callId: string): AnyCall;
}

/** How a call is followed. */
interface FollowOptions {
  readonly printer: ResponsePrinter;
  readonly bar: ProgressBar;
  /** Ends the wait with Canceled; the call goes on. */
  readonly signal: AbortSignal;
  /** How many messages of a stream are left out. Default: 0. */
  readonly from?: number | undefined;
}

/**
 * Follows a durable call to its end: prints its responses, and its progress where a person waits.
 * Throws the error that it ended with.
 */
export async function followCall(
  call: AnyCall,
  { printer, bar, signal, from }: FollowOptions,
): Promise<void> {
  const ended = new AbortController();
  const progress = showProgress(call, bar, AbortSignal.any([signal, ended.signal]));
  try {
    if (call.messages) {
      for await (const message of call.messages({ signal, from })) {
        await printer.print(message);
      }
    } else if (call.result) {
      await printer.print(await call.result({ signal }));
    }
  } finally {
    ended.abort();
    await progress;
    bar.clear();
  }
}

async function showProgress(call: Call, bar: ProgressBar, signal: AbortSignal): Promise<void> {
  if (!bar.isShown) {
    return;
  }
  try {
    for await (const report of call.progress({ signal })) {
      if (!signal.aborted) {
        bar.show(report);
      }
    }
  } catch {
    // Who waits for the result is told.
  }
}
