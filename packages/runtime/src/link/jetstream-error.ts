import { Code, ConnectError } from "@connectrpc/connect";
import { isPermanent, permanent } from "../message/error-marks.js";

/** The expected last sequence of a subject was not the last one: someone else wrote. */
export class SequenceConflict extends Error {}

/** Nothing captures the subject: its stream does not exist, or has no leader yet. */
export class NoStream extends Error {}

/** An error as JetStream's API answers it. */
export interface ApiError {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
}

const enable = ": enable JetStream on the server, for this account";

/**
 * The meaning of JetStream's error codes to a caller, by errors.json of nats-server. The rest
 * goes by the HTTP-like code: 503 and 429 pass, everything else is a defect of ours.
 */
const codes = new Map<number, Code>([
  // No room, or a limit is reached.
  [10002, Code.ResourceExhausted], // storage of the account
  [10023, Code.ResourceExhausted], // resources of the server
  [10026, Code.ResourceExhausted], // consumers
  [10027, Code.ResourceExhausted], // streams
  [10028, Code.ResourceExhausted], // memory
  [10047, Code.ResourceExhausted], // storage of the server
  [10053, Code.ResourceExhausted], // limits of the account for streams
  [10077, Code.ResourceExhausted], // messages or bytes of the stream
  [10122, Code.ResourceExhausted], // bytes of a stream of the account
  // Not now: another try, a moment later, may succeed.
  [10005, Code.Unavailable], // the cluster's servers are not all there yet
  [10007, Code.Unavailable], // the server that was asked does not have it yet
  [10009, Code.Unavailable], // the leader has changed
  [10041, Code.Unavailable], // consensus
  [10049, Code.Unavailable], // the files of a deleted stream of this name are there yet
  [10118, Code.Unavailable], // the leader of a stream is lost
  [10119, Code.Unavailable], // the leader of a consumer is lost
  [10124, Code.Unavailable], // the stream is being moved
  [10158, Code.Unavailable], // the same message is being stored
  [10176, Code.Unavailable], // a batch was cut short
  [10194, Code.Unavailable], // a stream is offline, and why
  [10195, Code.Unavailable], // a consumer is offline, and why
  [10202, Code.Unavailable], // a server joins or leaves
  [10208, Code.Unavailable], // a batch was forgotten
  [10226, Code.Unavailable], // the stream is being changed
  // The message cannot be stored, however often it is sent.
  [10165, Code.InvalidArgument], // its TTL
  [10189, Code.InvalidArgument], // its schedule
  [10190, Code.InvalidArgument], // the target of its schedule
  [10191, Code.InvalidArgument], // the TTL of its schedule
  [10193, Code.InvalidArgument], // its expected sequence
  // The server, the account or a stream has to be changed first.
  [10010, Code.FailedPrecondition], // it needs a cluster
  [10013, Code.FailedPrecondition], // a consumer of that name exists
  [10035, Code.FailedPrecondition], // no account
  [10036, Code.FailedPrecondition], // not in a cluster
  [10039, Code.FailedPrecondition], // no JetStream in the account
  [10052, Code.FailedPrecondition], // settings that this server does not take
  [10058, Code.FailedPrecondition], // a stream of that name exists
  [10065, Code.FailedPrecondition], // another stream has the subjects
  [10074, Code.FailedPrecondition], // replicas need a cluster
  [10076, Code.FailedPrecondition], // no JetStream in the server
  [10100, Code.FailedPrecondition], // another consumer has the subjects
  [10109, Code.FailedPrecondition], // the stream is sealed
  [10111, Code.FailedPrecondition], // no roll-ups
  [10113, Code.FailedPrecondition], // the account wants max_bytes
  [10120, Code.FailedPrecondition], // no limits in the account
  [10148, Code.FailedPrecondition], // a consumer exists
  [10166, Code.FailedPrecondition], // no TTLs
  [10174, Code.FailedPrecondition], // no atomic batches
  [10185, Code.FailedPrecondition], // an older server
  [10188, Code.FailedPrecondition], // no schedules
]);

/** The error of an answer of JetStream's API. */
export function toError(error: ApiError, subject: string): Error {
  const { code, err_code: number = 0, description = "JetStream error" } = error;
  const text = `${subject}: ${description} (${number || code})`;
  switch (number) {
    case 10071:
    case 10164: // found while another write of the subject was being stored
      return new SequenceConflict(text);
    case 10059:
      return new NoStream(text);
    case 10054: // too large for the stream, and so it stays
    case 10097: // headers above 64 KiB
      return permanent(new ConnectError(text, Code.ResourceExhausted));
    case 10035:
    case 10039:
    case 10076:
      return new ConnectError(text + enable, Code.FailedPrecondition);
    default:
      return new ConnectError(text, codes.get(number) ?? byStatus(code));
  }
}

function byStatus(code: number): Code {
  return code === 503 || code === 429 ? Code.Unavailable : Code.Internal;
}

/** True when a stream refused a message because it is full, or has its subject already. */
export function isFull(error: unknown): boolean {
  return (
    error instanceof ConnectError &&
    error.code === Code.ResourceExhausted &&
    // That is a message that is too large.
    !isPermanent(error)
  );
}

/** True when a message can never be stored, however often it is sent: it is too large, or wrong. */
export function neverFits(error: unknown): boolean {
  return (
    error instanceof ConnectError &&
    (error.code === Code.InvalidArgument ||
      (error.code === Code.ResourceExhausted && isPermanent(error)))
  );
}
