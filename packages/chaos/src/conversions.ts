import { setTimeout as delay } from "node:timers/promises";
import { blobOf } from "@jetrpc/runtime";
import { digestOf, fileOf, turned } from "./content.js";
import { Kind } from "./gen/chaos/v1/chaos_pb.js";
import type { Journal } from "./journal.js";
import type { Accepted, Upload } from "./message.js";
import type { Random } from "./random.js";
import type { ChaosClient } from "./service.js";

const kinds = [
  ...Array<Kind>(20).fill(Kind.QUICK),
  ...Array<Kind>(6).fill(Kind.SLOW),
  Kind.FLAKY,
  Kind.BAD,
  Kind.DEADLY,
];

/** How many of its calls get an id of the caller. */
const namedShare = 0.7;

/** Makes calls with Blobs, slowly enough that a killed process has one half done. */
export class Conversions {
  /** `unfinished` are what a client uploaded that was killed: these are gone on with. */
  constructor(
    private readonly client: ChaosClient,
    private readonly random: Random,
    private readonly journal: Journal,
    private readonly newId: () => string,
    private readonly unfinished: Upload[],
  ) {}

  /** Makes one call. Throws why it was not accepted. */
  async make(): Promise<Accepted> {
    const { client, journal } = this;
    const unfinished = this.unfinished.pop();
    const upload = unfinished ?? this.choose();
    const { kind, milliseconds, seed, size, callId } = upload;
    const isNamed = unfinished !== undefined || this.random.chance(namedShare);
    const open = this.opener(upload);
    const file = blobOf(this.random.chance(namedShare) ? open : open());
    if (isNamed) {
      journal.say({ uploads: upload, isDone: false });
    }
    const request = { kind, milliseconds, file };
    const call = await client.convert.submit(request, isNamed ? { callId } : {});
    const accepted: Accepted = {
      method: "Convert",
      callId: call.id,
      result: await digestOf(turned(fileOf(seed, size))),
      ends: kind === Kind.BAD ? ["failed"] : ["succeeded"],
      isObject: true,
    };
    journal.say({ accepted });
    if (isNamed) {
      journal.say({ uploads: upload, isDone: true });
    }
    return accepted;
  }

  private choose(): Upload {
    const { random, newId } = this;
    return {
      callId: newId(),
      kind: random.pick(kinds),
      milliseconds: random.between(1, 500),
      seed: random.between(0, 2 ** 30),
      size: random.between(1, 300_000),
    };
  }

  private opener({ seed, size }: Upload) {
    const pauseMs = this.random.between(0, 60);
    return async function* open() {
      for (const piece of fileOf(seed, size)) {
        await delay(pauseMs);
        yield piece;
      }
    };
  }
}
