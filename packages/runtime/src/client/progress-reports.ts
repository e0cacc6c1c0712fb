import type { Msg } from "@nats-io/nats-core";
import type { Progress } from "../gen/jetrpc/v1/call_pb.js";
import { CallFollower, type Followed, type FollowFrom } from "../ledger/following.js";
import { lastProgress, parseProgress, progressSequence } from "../ledger/progress.js";
import { refuseOtherDomainOnce } from "../link/domain.js";
import { Interruptible } from "../link/interruptible.js";
import { until } from "../link/until.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import type { SignalOptions } from "./call.js";
import { left, limitWait } from "./limit-wait.js";

/** The reports of progress of a call, until it ends. Errors: see {@link Call.progress}. */
export function progressReports(
  followed: Followed,
  method: MethodBinding,
  call: CallName,
  from: FollowFrom,
  options: SignalOptions = {},
): Interruptible<Progress> {
  const follower = new CallFollower(followed, method, call, from, true);
  return new Interruptible(reports(followed, method, call, follower, options), () =>
    follower.stop(left),
  );
}

async function* reports(
  followed: Followed,
  method: MethodBinding,
  call: CallName,
  follower: CallFollower,
  options: SignalOptions,
): AsyncGenerator<Progress, void, undefined> {
  const { link, live } = followed;
  let latest: Msg | undefined;
  let shown = 0;
  let wake: (() => void) | undefined;
  let ended: { error?: unknown } | undefined;
  const take = (message: Msg | undefined) => {
    if (message && progressSequence(message) > shown) {
      latest = message;
      wake?.();
    }
  };
  const end = (how: { error?: unknown }) => {
    ended ??= how;
    wake?.();
  };
  const readStored = () => until(link, async () => take(await lastProgress(link, method, call)));
  const release = limitWait(follower, options);
  const stopListening = live.listen(method, call, { progress: take });
  refuseOtherDomainOnce(link, method)
    .then(readStored)
    .catch((error) => end({ error }));
  follower
    .next()
    // A report was not heard while the connection was lost.
    .then(readStored)
    .then(
      () => end({}),
      (error) => end({ error }),
    );
  try {
    for (;;) {
      const report = latest;
      if (report) {
        latest = undefined;
        shown = progressSequence(report);
        yield parseProgress(report);
      } else if (ended) {
        if (ended.error) {
          throw ended.error;
        }
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    stopListening();
    release();
  }
}
