/** A message before it is written: what is mutated. */
export interface Draft {
  /** Which template it was made from, and what was done to it. */
  label: string;
  subject: string;
  reply: string;
  /** The first line of the headers. */
  status: string;
  /** Names and values as latin1: any byte may be in them. */
  headers: [name: string, value: string][];
  payload: Buffer;
}

/** Writes a message as the NATS protocol has it: no client would write most of them. */
export function encodeDraft({ subject, reply, status, headers, payload }: Draft): Buffer {
  const to = reply === "" ? subject : `${subject} ${reply}`;
  if (headers.length === 0 && status === plainStatus) {
    return Buffer.concat([Buffer.from(`PUB ${to} ${payload.length}\r\n`, "latin1"), payload, end]);
  }
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`);
  const block = Buffer.from(`${status}\r\n${lines.join("")}\r\n`, "latin1");
  const line = `HPUB ${to} ${block.length} ${block.length + payload.length}\r\n`;
  return Buffer.concat([Buffer.from(line, "latin1"), block, payload, end]);
}

const end = Buffer.from("\r\n");

/** The first line of headers that say no status. */
export const plainStatus = "NATS/1.0";

/** How much of a part of a message is shown. */
const shown = 160;

/** A message for a person to read. */
export function describeDraft(index: number, draft: Draft): string {
  const { label, subject, reply, status, headers, payload } = draft;
  const short = (text: string) =>
    text.length > shown ? `${text.slice(0, shown)}… (${text.length})` : text;
  return [
    `${index}: ${label}`,
    `  ${short(JSON.stringify(subject))}${reply && ` reply ${short(JSON.stringify(reply))}`}`,
    ...(headers.length > 0
      ? [`  ${JSON.stringify(status)} ${short(JSON.stringify(headers))}`]
      : []),
    `  ${payload.length} bytes: ${short(payload.toString("hex"))}`,
  ].join("\n");
}
