import { type CallSnapshot, loading } from "./call-snapshot.js";
import { type AnyCall, CallStore, type FollowOptions } from "./call-store.js";

/** A durable method of a client, as far as its calls are concerned. */
export interface Attachable<M> {
  attach(callId: string): AnyCall<M>;
}

/** The calls that components look at, by method and id. */
const followed = new WeakMap<Attachable<unknown>, Map<string, CallStore<unknown>>>();

/** Follows a call for a component, until the returned function is called. */
export function followCall<M>(
  method: Attachable<M>,
  callId: string,
  listener: () => void,
  options: FollowOptions,
): () => void {
  const stores = followed.get(method) ?? new Map<string, CallStore<unknown>>();
  followed.set(method, stores);
  const store = stores.get(callId) ?? new CallStore(attachTo(method, callId));
  stores.set(callId, store);
  const leave = store.add(listener, options);
  return () => {
    leave();
    // Not at once: StrictMode leaves and comes back.
    setTimeout(() => {
      if (!store.isUsed && stores.get(callId) === store) {
        stores.delete(callId);
      }
    });
  };
}

/** Throws nothing where React would take the whole page away: an id may come from its address. */
function attachTo<M>(method: Attachable<M>, callId: string): AnyCall<M> {
  try {
    return method.attach(callId);
  } catch (error) {
    const fail = () => Promise.reject(error);
    const progress = () => ({ [Symbol.asyncIterator]: () => ({ next: fail }) });
    return { id: callId, status: fail, result: fail, progress, cancel: fail };
  }
}

/** What is known of a call; the same object until something changes. */
export function snapshotOf<M>(method: Attachable<M>, callId: string): CallSnapshot<M> {
  return (followed.get(method)?.get(callId)?.snapshot as CallSnapshot<M>) ?? loading;
}

/** Ends a call. True when it had not ended before. */
export async function cancelCall(method: Attachable<unknown>, callId: string): Promise<boolean> {
  const isCanceled = await method.attach(callId).cancel();
  await followed.get(method)?.get(callId)?.look();
  return isCanceled;
}
