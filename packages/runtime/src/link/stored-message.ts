import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import { quote, wholeNumber } from "../message/header.js";

/** A message that a stream has given out. */
export class StoredMessage {
  constructor(
    readonly message: Msg,
    /** The subject on which it is stored. */
    readonly subject: string,
    /** Its sequence in the stream. */
    readonly sequence: number,
    /** When it was stored, by the server's clock, in ms since 1970. */
    readonly storedAtMs: number,
  ) {}

  get headers(): MsgHdrs | undefined {
    return this.message.headers;
  }

  get data(): Uint8Array {
    return this.message.data;
  }
}

/** A message that a consumer has delivered. Errors: those of {@link readDelivery}. */
export function deliveredMessage(message: Msg): StoredMessage {
  const { sequence, storedAtMs } = readDelivery(message);
  return new StoredMessage(message, message.subject, sequence, storedAtMs);
}

/** A delivery, as JetStream describes it in the subject that acknowledges it (ADR-15). */
export interface Delivery {
  /** How often the message was delivered, this time included. */
  readonly deliveries: number;
  readonly sequence: number;
  /** When the message was stored, by the server's clock, in ms since 1970. */
  readonly storedAtMs: number;
}

/** Reads what JetStream says of a delivered message. Throws DataLoss for any other message. */
export function readDelivery(message: Msg): Delivery {
  const tokens = (message.reply ?? "").split(".");
  // $JS.ACK.<stream>.… or $JS.ACK.<domain>.<account>.<stream>.…
  const first = tokens.length === 9 ? 4 : 6;
  const deliveries = wholeNumber(tokens[first]);
  const sequence = wholeNumber(tokens[first + 1]);
  const storedAtNs = tokens[first + 3] ?? "";
  if (!deliveries || !sequence || !/^\d{1,19}$/.test(storedAtNs)) {
    throw new ConnectError(
      `a message on ${message.subject} was not delivered by JetStream: its reply subject is ${quote(message.reply ?? "")}`,
      Code.DataLoss,
    );
  }
  return { deliveries, sequence, storedAtMs: Math.floor(Number(storedAtNs) / 1e6) };
}
