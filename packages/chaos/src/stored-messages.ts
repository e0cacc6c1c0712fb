import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";

/** A message as a stream has it. */
interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly headers: MsgHdrs;
  readonly data: Uint8Array;
}

/** The messages of a stream on a subject, in order: also of a work queue, which has no readers. */
export async function* storedMessages(
  nats: NatsConnection,
  stream: string,
  subject: string,
): AsyncGenerator<StoredMessage, void, undefined> {
  for (let from = 1; ; ) {
    const body = JSON.stringify({ seq: from, next_by_subj: subject });
    const api = `$JS.API.DIRECT.GET.${stream}`;
    const { headers, data } = await nats.request(api, body, { timeout: 5000 });
    const sequence = Number(headers?.get("Nats-Sequence"));
    if (!headers || !sequence) {
      return;
    }
    yield { subject: headers.get("Nats-Subject"), sequence, headers, data };
    from = sequence + 1;
  }
}
