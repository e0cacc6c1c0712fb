import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { type Progress, ProgressSchema } from "../gen/jetrpc/v1/call_pb.js";
import { getLast, publishStored } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { withStreams } from "../link/provision.js";
import { decode, encode } from "../message/codec.js";
import { Header, HeaderBlock, wholeNumber } from "../message/header.js";
import { defectOf } from "../message/readable.js";
import { cutText } from "../message/text.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { progressSubjectOf } from "../schema/call-subjects.js";

/** Most bytes of the text of a report. */
const maxTextBytes = 4096;

/** A report of progress. */
export interface Report {
  readonly done: number;
  /** 0 where it is not known. */
  readonly total: number;
  readonly message: string;
}

/** Stores the last report of a call. It is not fenced: a stale attempt may write it. */
export async function storeProgress(
  link: Link,
  method: MethodBinding,
  call: CallName,
  attempt: number,
  report: Report,
): Promise<void> {
  const headers = new HeaderBlock().add(Header.entry, `progress ${attempt}`);
  const most = Math.min(maxTextBytes, Math.floor(link.maxPayload / 4));
  const message = cutText(report.message, most);
  const payload = encode(ProgressSchema, { ...report, message }, Code.Internal);
  const subject = progressSubjectOf(method, call);
  await withStreams(link, method.service, () => publishStored(link, subject, payload, headers));
}

/** Reads the last report of a call as it is stored; undefined when there is none. */
export async function lastProgress(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<Msg | undefined> {
  const subject = progressSubjectOf(method, call);
  return (await getLast(link, method.service.progressStream, subject))?.message;
}

/** Reads a report of progress. Throws DataLoss for any other message. */
export function parseProgress(message: Msg): Progress {
  const defect = defectOf(message);
  if (defect) {
    throw new ConnectError(`the progress of the call cannot be read: ${defect}`, Code.DataLoss);
  }
  return decode(ProgressSchema, message.data, Code.DataLoss);
}

/** Where the server says that a report is stored; 0 for one that says nothing. */
export function progressSequence({ headers }: Msg): number {
  return wholeNumber(headers?.last(Header.sequence)) ?? 0;
}
