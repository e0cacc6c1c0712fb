import { Code, ConnectError } from "@jetrpc/runtime";
import { anySize } from "./any-size.js";
import { Kind, Part } from "./gen/chaos/v1/chaos_pb.js";
import type { Random } from "./random.js";
import type { ChaosClient } from "./service.js";

/** Codes of a direct call after a crash, or when a large payload finds no room. */
const outages = [Code.Unavailable, Code.DeadlineExceeded, Code.ResourceExhausted];

/** Codes of a direct call whose handler fails, or returns a message that cannot be sent. */
const failures = [Code.InvalidArgument, Code.Internal];

/** Makes a direct call, of which nothing is promised but an answer: tells what is wrong with it. */
export async function ask(client: ChaosClient, random: Random): Promise<string | undefined> {
  const kind = random.pick([Kind.QUICK, Kind.BAD, Kind.BROKEN]);
  const part = random.pick([Part.UNSPECIFIED, Part.METADATA, Part.DETAILS]);
  const size = anySize(random, 600_000);
  const value = random.between(1, 999);
  try {
    const response = await client.ask({ kind, part, size, value }, { timeoutMs: 10_000 });
    if (kind !== Kind.QUICK) {
      return "a direct call had to fail";
    }
    return response.value === value
      ? undefined
      : `a direct call has result ${response.value}, not ${value}`;
  } catch (error) {
    const { code, message } = ConnectError.from(error);
    const isRight = outages.includes(code) || (kind !== Kind.QUICK && failures.includes(code));
    return isRight ? undefined : `a direct call: ${message}`;
  }
}
