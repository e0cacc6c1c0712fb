import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { firstMessage, type MessageInStream } from "@jetrpc/runtime/operator";
import { askJetStream } from "../doctor/jetstream.js";

/** Most requests that a collection has under way: the server queues what is more, and drops it at last. */
const maxAtOnce = 32;

/** What one collection asks JetStream: some requests at once, and none after its time. */
export class JetStreamQueries {
  private underWay = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    readonly connection: Connection,
    /** By performance.now(). */
    private readonly endsAt: number,
  ) {}

  /** Errors: those of askJetStream(), DeadlineExceeded. */
  ask<T>(api: string, body: object = {}): Promise<T | undefined> {
    return this.bounded((leftMs) => askJetStream<T>(this.connection, api, body, leftMs));
  }

  /**
   * The first message of a subject from a sequence on.
   *
   * Errors: PermissionDenied, Unavailable, DeadlineExceeded.
   */
  first(stream: string, subject: string, from: number): Promise<MessageInStream | undefined> {
    return this.bounded((leftMs) => firstMessage(this.connection, stream, subject, from, leftMs));
  }

  private async bounded<T>(send: (leftMs: number) => Promise<T>): Promise<T> {
    if (this.underWay >= maxAtOnce) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else {
      this.underWay++;
    }
    try {
      const leftMs = this.endsAt - performance.now();
      if (leftMs < 1) {
        throw new ConnectError("the time of the scrape is over", Code.DeadlineExceeded);
      }
      return await send(leftMs);
    } finally {
      const next = this.waiting.shift();
      if (next) {
        next();
      } else {
        this.underWay--;
      }
    }
  }
}
