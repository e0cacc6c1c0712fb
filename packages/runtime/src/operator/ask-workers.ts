import { type Connection, internalsOf } from "../connection.js";
import { gather } from "../link/gather.js";
import { discoverySubject, microName } from "../schema/micro-names.js";

/** How long answers of workers are waited for, in ms, and how long for one more. */
const mostMs = 1_000;
const quietMs = 300;

/**
 * Asks all workers, or those of a service, by NATS micro (ADR-32). Returns their answers as they
 * came: anyone may answer, in any shape.
 *
 * Errors: PermissionDenied, Unavailable.
 */
export async function askWorkers(
  connection: Connection,
  verb: "PING" | "INFO" | "STATS",
  typeName?: string,
): Promise<string[]> {
  const answers: string[] = [];
  const subject = discoverySubject(verb, typeName && microName(typeName));
  const take = (message: { string(): string }) => {
    answers.push(message.string());
    return false;
  };
  await gather(internalsOf(connection).link, subject, mostMs, take, quietMs);
  return answers;
}
