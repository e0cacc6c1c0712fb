import { type Msg, nuid, type Subscription } from "@nats-io/nats-core";
import type { MethodBinding } from "../wire/binding.js";
import type { CallName } from "../wire/call-id.js";
import { liveSubject as callSubject } from "../wire/call-log.js";
import type { Link } from "../wire/link.js";

type Listener = (message: Msg) => void;

/**
 * Hears what call logs accept. All calls whose ids this client made come by
 * one subscription for each method: a call then costs no SUB and no UNSUB.
 */
export class LiveRouter {
  private readonly session = nuid.next();
  private readonly sessionSubscriptions = new Map<string, Subscription>();
  private readonly listeners = new Map<string, Set<Listener>>();
  private next = 0;

  constructor(private readonly link: Link) {}

  /** Makes a call id that no other call has. */
  newCallId(): string {
    return `${this.session}.${(this.next++).toString(36)}`;
  }

  /** Listens to a call's log until the returned function is called. */
  listen(method: MethodBinding, call: CallName, listener: Listener): () => void {
    if (call.callId.startsWith(`${this.session}.`)) {
      return this.listenToSession(method, call.callId, listener);
    }
    const subscription = this.link.subscribe(callSubject(method, call), listener);
    return () => subscription.unsubscribe();
  }

  private listenToSession(method: MethodBinding, callId: string, listener: Listener): () => void {
    const { liveSubject } = method;
    if (!this.sessionSubscriptions.has(liveSubject)) {
      const subscription = this.link.subscribe(
        `${liveSubject}.${this.link.owner}.${this.session}.>`,
        (message) => this.route(message),
      );
      this.sessionSubscriptions.set(liveSubject, subscription);
    }
    let listeners = this.listeners.get(callId);
    if (!listeners) {
      listeners = new Set();
      this.listeners.set(callId, listeners);
    }
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.listeners.get(callId) === listeners) {
        this.listeners.delete(callId);
      }
    };
  }

  /** `<prefix>.live.<Method>.<owner>.<session>.<number>.<entry|progress>` */
  private route(message: Msg): void {
    const { subject } = message;
    const end = subject.lastIndexOf(".");
    const start = subject.lastIndexOf(".", subject.lastIndexOf(".", end - 1) - 1);
    for (const listener of this.listeners.get(subject.slice(start + 1, end)) ?? []) {
      listener(message);
    }
  }
}
