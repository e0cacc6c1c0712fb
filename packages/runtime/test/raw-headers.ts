import type { MsgHdrs, NatsConnection } from "@nats-io/nats-core";

/** A header block as it crosses the wire: the NATS client refuses to make most of these. */
export function rawHeaders(block: string): MsgHdrs {
  const bytes = new TextEncoder().encode(block);
  return { encode: () => bytes } as unknown as MsgHdrs;
}

/** Header blocks that servers let pass and that the NATS client cannot read. */
export const malformedBlocks: readonly (readonly [what: string, block: string])[] = [
  ["a space in a name", "NATS/1.0\r\nbad name: x\r\n\r\n"],
  ["a control character in a name", "NATS/1.0\r\nbad\u0001name: x\r\n\r\n"],
  ["letters of no ASCII in a name", "NATS/1.0\r\nschlüssel: x\r\n\r\n"],
  ["a line break in a value", "NATS/1.0\r\nname: x\ny\r\n\r\n"],
  [
    "thousands of lines",
    `NATS/1.0\r\n${Array.from({ length: 5_000 }, (_, i) => `a${i}: x\r\n`).join("")}\r\n`,
  ],
];

/** The same block with lines of ours that can be read. */
export function withLines(block: string, ...lines: string[]): string {
  return block.replace("\r\n\r\n", `\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`);
}

/** Publishes with a header block as it is. */
export function publishRaw(
  nats: NatsConnection,
  subject: string,
  block: string,
  data: string | Uint8Array = "",
): void {
  nats.publish(subject, data, { headers: rawHeaders(block) });
}

/** Publishes so to a stream, and waits until it is stored: who reads next finds it. */
export async function storeRaw(
  nats: NatsConnection,
  subject: string,
  block: string,
  data: string | Uint8Array = "",
): Promise<void> {
  const answer = await nats.request(subject, data, { headers: rawHeaders(block), timeout: 60_000 });
  if (answer.json<{ error?: object }>().error) {
    throw new Error(`${subject}: ${answer.string()}`);
  }
}
