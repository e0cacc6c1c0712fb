import type { NatsConnection } from "@nats-io/transport-node";

/** A message as a stream has it. */
interface StoredMessage {
  readonly sequence: number;
  readonly subject: string;
  readonly time: string;
  /** Lines of its header block, as text: a client may not be able to read them. */
  readonly headers: readonly string[];
  /** Size of its payload in bytes. */
  readonly size: number;
}

interface Answer {
  readonly message?: {
    readonly seq: number;
    readonly subject: string;
    readonly time: string;
    readonly hdrs?: string;
    readonly data?: string;
  };
}

/** The messages of a stream on a subject, in order: also of a work queue, which has no readers. */
export async function* storedMessages(
  nats: NatsConnection,
  stream: string,
  subject: string,
): AsyncGenerator<StoredMessage, void, undefined> {
  for (let from = 1; ; ) {
    const body = JSON.stringify({ seq: from, next_by_subj: subject });
    const api = `$JS.API.STREAM.MSG.GET.${stream}`;
    const { message } = (await nats.request(api, body, { timeout: 5000 })).json<Answer>();
    if (!message) {
      return;
    }
    const { seq, hdrs = "", data = "", time } = message;
    yield {
      sequence: seq,
      subject: message.subject,
      time,
      headers: Buffer.from(hdrs, "base64").toString("latin1").trim().split("\r\n").slice(1),
      size: Buffer.from(data, "base64").length,
    };
    from = seq + 1;
  }
}
