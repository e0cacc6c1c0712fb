import { Code, type ConnectError } from "@connectrpc/connect";
import { errors, type Msg, type NatsConnection } from "@nats-io/nats-core";
import { causedError } from "../message/caused-error.js";
import { heartbeatSuffix } from "../message/frame.js";
import { createInbox } from "./inbox.js";
import type { Pulse } from "./pulse.js";
import { createSecret, secretLength } from "./secret.js";
import { SendWindow } from "./send-window.js";
import { SlotTable } from "./slot-table.js";

/** The part that all requests of a method have in common. */
export interface Route {
  /** The beginning of their reply subjects, before the number. */
  readonly inbox: string;
  /** Bounds how much is under way. */
  readonly window: SendWindow;
}

/** A receiver of the messages on one reply subject. */
export interface Reply {
  /** That of its {@link Route}. */
  readonly inbox: string;
  /** Takes a message. Its payload is a part of a larger buffer: see {@link keep}. */
  receive(message: Msg): void;
  /** The worker of the request is alive. */
  heard(): void;
  /** A second has passed. */
  tick(): void;
  /** The connection is lost: what was under way will not be answered. */
  disconnected(): void;
  /** True for what was published to, to find the reply whose request was denied. */
  publishesTo(subject: string): boolean;
  /** The server refused the publish. */
  denied(cause: Error): void;
}

/**
 * Receives the replies of all requests of a connection by one wildcard
 * subscription. A reply subject is `<prefix><secret>.<number>`; a number takes replies
 * only with the secret that it was opened with. So who is asked learns the reply
 * subjects of what it may answer, and of nothing else. `nc.request()` would make
 * a timer, a race of promises and an error object for each request.
 */
export class Mux {
  private readonly replies = new SlotTable<Reply>();
  private readonly prefix: string;
  /** Where JetStream, and nobody else, answers. */
  readonly jetStream: Route;
  /** By method. */
  private readonly routes = new WeakMap<object, Route>();
  private refusal: Error | undefined;

  constructor(
    nats: NatsConnection,
    private readonly pulse: Pulse,
    /** Makes of what takes messages what takes those that may be malformed. */
    guarded: (take: (message: Msg) => void) => (message: Msg) => void,
    inboxPrefix?: string,
  ) {
    this.prefix = `${createInbox(inboxPrefix)}.`;
    this.jetStream = this.createRoute();
    const route = guarded((message) => this.route(message));
    nats.subscribe(`${this.prefix}>`, {
      callback: (error, message) => {
        if (error) {
          this.refusal = error;
          this.unheard(error);
        } else {
          route(message);
        }
      },
    });
    pulse.add(() => {
      for (const reply of this.replies.values()) {
        reply.tick();
      }
      return this.replies.size > 0;
    });
  }

  /** For the requests of a method. */
  routeOf(method: object): Route {
    let route = this.routes.get(method);
    if (route === undefined) {
      route = this.createRoute();
      this.routes.set(method, route);
    }
    return route;
  }

  /** For one request, whoever hears it. */
  createRoute(): Route {
    return { inbox: `${this.prefix}${createSecret()}.`, window: new SendWindow() };
  }

  /** Opens a reply subject, the reply's inbox and the number returned; it closes it. */
  open(reply: Reply): number {
    this.pulse.start();
    const { refusal } = this;
    if (refusal) {
      queueMicrotask(() => reply.denied(refusal));
    }
    return this.replies.add(reply);
  }

  /** Set when these credentials may not listen to replies. */
  get deafness(): ConnectError | undefined {
    return this.refusal && denial(this.prefix, this.refusal);
  }

  /** Closes a reply subject: what still arrives there is dropped. */
  close(number: number): void {
    this.replies.delete(number);
  }

  /** `<prefix><secret>.<number>`, or the same with `.heartbeat`. */
  private route(message: Msg): void {
    const { subject } = message;
    let number = 0;
    let end = this.prefix.length + secretLength + 1;
    for (; end < subject.length; end++) {
      const digit = subject.charCodeAt(end) - 48;
      if (digit < 0 || digit > 9) {
        break;
      }
      number = number * 10 + digit;
    }
    const reply = this.replies.get(number);
    if (!reply || !subject.startsWith(reply.inbox)) {
      return;
    }
    if (end === subject.length) {
      reply.receive(message);
    } else if (subject.endsWith(heartbeatSuffix)) {
      reply.heard();
    }
  }

  /** Tells everything that waits that the connection is lost. */
  disconnected(): void {
    for (const reply of this.replies.values()) {
      reply.disconnected();
    }
  }

  /** Tells everything that waits that no reply can be heard. */
  private unheard(cause: Error): void {
    for (const reply of this.replies.values()) {
      reply.denied(cause);
    }
  }

  /** Tells whoever published to a subject that the server refused it. */
  denied(subject: string, cause: Error): void {
    for (const reply of this.replies.values()) {
      if (reply.publishesTo(subject)) {
        reply.denied(cause);
      }
    }
  }
}

/** The error of what these credentials may not do with a subject. */
export function denial(subject: string, cause: Error): ConnectError {
  const text =
    cause instanceof errors.PermissionViolationError && cause.operation === "subscription"
      ? `these credentials may not listen to ${cause.subject}: set NATS_INBOX_PREFIX, or inboxPrefix, to what they may listen to`
      : `these credentials may not publish on ${subject}: ask for the permission`;
  return causedError(text, Code.PermissionDenied, cause);
}
