import { type Msg, nuid, type Subscription } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { liveSubjectOf } from "../schema/call-subjects.js";
import { type Entry, parseEntry } from "./log.js";

/** Hears a call: entries of its log, parsed once for all who listen, and its progress. */
export interface LiveListener {
  /** Undefined stands for one that cannot be read: its log says why. */
  entry?(entry: Entry | undefined): void;
  progress?(message: Msg): void;
  /** The connection was lost, and is there again. */
  reconnected?(): void;
  /** A second has passed; the time is that of performance.now(). */
  beat?(now: number): void;
}

/**
 * Hears what call logs accept. All calls whose ids this client made come by
 * one subscription for each method: a call then costs no SUB and no UNSUB. Any other
 * call has one for all who listen to it.
 */
export class LiveRouter {
  private readonly session = nuid.next();
  private readonly sessionSubscriptions = new Map<string, Subscription>();
  private readonly callSubscriptions = new Map<string, Subscription>();
  /** By call id of this session, or by the live subject of the call. */
  private readonly listeners = new Map<string, readonly LiveListener[]>();
  private next = 0;

  constructor(private readonly link: Link) {
    link.pulse.add(() => {
      const now = performance.now();
      for (const listener of this.all()) {
        listener.beat?.(now);
      }
      return this.listeners.size > 0;
    });
    link.onReconnect(() => {
      for (const listener of this.all()) {
        listener.reconnected?.();
      }
    });
  }

  private all(): LiveListener[] {
    return [...this.listeners.values()].flat();
  }

  /** Names a call that no other call is named like. */
  newCall(): CallName {
    const { owner } = this.link;
    const callId = `${this.session}.${(this.next++).toString(36)}`;
    return { owner, callId, suffix: `${owner}.${callId}` };
  }

  /** Listens to a call until the returned function is called. */
  listen(method: MethodBinding, call: CallName, listener: LiveListener): () => void {
    if (call.callId.startsWith(`${this.session}.`)) {
      this.listenToSession(method);
      return this.add(call.callId, listener);
    }
    const subject = liveSubjectOf(method, call);
    if (!this.callSubscriptions.has(subject)) {
      const subscription = this.link.subscribe(subject, (message) => this.tell(subject, message));
      this.callSubscriptions.set(subject, subscription);
    }
    return this.add(subject, listener);
  }

  private listenToSession({ liveSubject }: MethodBinding): void {
    if (!this.sessionSubscriptions.has(liveSubject)) {
      const subject = `${liveSubject}.${this.link.owner}.${this.session}.>`;
      const subscription = this.link.subscribe(subject, (message) => this.route(message));
      this.sessionSubscriptions.set(liveSubject, subscription);
    }
  }

  private add(key: string, listener: LiveListener): () => void {
    const others = this.listeners.get(key);
    this.listeners.set(key, others ? [...others, listener] : [listener]);
    this.link.pulse.start();
    return () => this.remove(key, listener);
  }

  private remove(key: string, listener: LiveListener): void {
    const left = this.listeners.get(key)?.filter((each) => each !== listener) ?? [];
    if (left.length > 0) {
      this.listeners.set(key, left);
    } else if (this.listeners.delete(key)) {
      this.callSubscriptions.get(key)?.unsubscribe();
      this.callSubscriptions.delete(key);
    }
  }

  /** `<prefix>.live.<Method>.<owner>.<session>.<number>.<entry|progress>` */
  private route(message: Msg): void {
    const { subject } = message;
    const end = subject.lastIndexOf(".");
    const start = subject.lastIndexOf(".", subject.lastIndexOf(".", end - 1) - 1);
    this.tell(subject.slice(start + 1, end), message);
  }

  private tell(key: string, message: Msg): void {
    const listeners = this.listeners.get(key);
    if (!listeners) {
      return;
    }
    const isEntry = message.subject.endsWith(".entry");
    const entry = isEntry ? tryToParse(message) : undefined;
    for (const listener of listeners) {
      if (isEntry) {
        listener.entry?.(entry);
      } else {
        listener.progress?.(message);
      }
    }
  }
}

function tryToParse(message: Msg): Entry | undefined {
  try {
    return parseEntry(message);
  } catch {
    return undefined;
  }
}
