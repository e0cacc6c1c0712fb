import type { CallName } from "../schema/call-id.js";

/** Smaller results are not counted. */
const countedFrom = 16 * 1024;

/** The results that one client is sent live before it shows that it reads, in bytes. */
const mostBytes = 4 * 1024 * 1024;

/** Clients that are known at a time. */
const mostClients = 1_000;

/**
 * Bounds the results that a worker has the server send to a client while that may not read: the
 * server cuts connections with more than 64 MB to read. A client that has submitted a call
 * reads.
 */
export class LiveBytes {
  private readonly clients = new Map<string, { since: number; bytes: number }>();

  /**
   * Counts a result of a call that was submitted at a time, in ms since 1970. False when
   * the log should have no more of it than a reference: its followers then read the
   * result no faster than they can.
   */
  take({ suffix }: CallName, submittedAtMs: number, bytes: number): boolean {
    if (bytes < countedFrom) {
      return true;
    }
    const client = suffix.slice(0, suffix.lastIndexOf("."));
    let sent = this.clients.get(client);
    if (!sent || submittedAtMs > sent.since) {
      if (this.clients.size >= mostClients) {
        this.clients.clear();
      }
      sent = { since: Date.now(), bytes: 0 };
      this.clients.set(client, sent);
    }
    if (sent.bytes + bytes > mostBytes) {
      return false;
    }
    sent.bytes += bytes;
    return true;
  }
}
