import { createInbox, type Msg, type NatsConnection } from "@nats-io/nats-core";
import { heartbeatSuffix } from "./frame.js";
import type { Pulse } from "./pulse.js";

/** What waits for messages on one reply subject. */
export interface Reply {
  /** Takes a message. Its payload is a part of a larger buffer: see {@link keep}. */
  receive(message: Msg): void;
  /** Whoever works on the request is alive. */
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
 * subscription. It does what `nc.request()` does without its timer, race and
 * error objects for each request (design, fact 11).
 */
export class Mux {
  private readonly replies = new Map<string, Reply>();
  private readonly prefix: string;
  private next = 0;

  constructor(
    nats: NatsConnection,
    private readonly pulse: Pulse,
    inboxPrefix?: string,
  ) {
    this.prefix = `${createInbox(inboxPrefix)}.`;
    const start = this.prefix.length;
    nats.subscribe(`${this.prefix}>`, {
      callback: (error, message) => {
        if (error) {
          // These credentials may not listen there: their requests are in vain.
          this.unheard(error);
          return;
        }
        const token = message.subject.slice(start);
        const reply = this.replies.get(token);
        if (reply) {
          reply.receive(message);
        } else if (token.endsWith(heartbeatSuffix)) {
          this.replies.get(token.slice(0, -heartbeatSuffix.length))?.heard();
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

  /** Opens a reply subject; the token closes it. */
  open(reply: Reply): string {
    const token = (this.next++).toString(36);
    this.replies.set(token, reply);
    this.pulse.start();
    return token;
  }

  /** Subject that belongs to a token. */
  subject(token: string): string {
    return this.prefix + token;
  }

  /** Closes a reply subject: what still arrives there is dropped. */
  close(token: string): void {
    this.replies.delete(token);
  }

  /** Tells everything that waits that the connection is lost. */
  disconnected(): void {
    for (const reply of [...this.replies.values()]) {
      reply.disconnected();
    }
  }

  /** Tells everything that waits that no reply can be heard. */
  private unheard(cause: Error): void {
    for (const reply of [...this.replies.values()]) {
      reply.denied(cause);
    }
  }

  /** Tells whoever published to a subject that the server refused it. */
  denied(subject: string, cause: Error): void {
    for (const reply of [...this.replies.values()]) {
      if (reply.publishesTo(subject)) {
        reply.denied(cause);
      }
    }
  }
}
