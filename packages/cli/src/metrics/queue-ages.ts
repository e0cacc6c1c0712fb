import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import type { MethodBinding, Queue } from "@jetrpc/runtime/schema";
import type { ConsumerFigures, StreamFigures } from "./figures.js";
import type { JetStreamQueries } from "./jetstream-queries.js";

/** At a moment, in ms since 1970 by the server's clock, a stream had a last sequence. */
interface Mark {
  readonly at: number;
  readonly sequence: number;
}

/** So many marks are kept of a stream. */
const maxMarks = 512;

/**
 * Tells for how long the oldest queued call of a method has waited. Credentials that may read
 * requests see when it was stored. Others, as an observer's, may see no request: for them it
 * was stored after the latest moment at which the stream did not have it yet. That is right to
 * one collection, once calls have been taken that waited when the exporter was started.
 */
export class QueueAges {
  private readonly marks = new Map<string, Mark[]>();
  /** When a queue was last seen empty. */
  private readonly emptyAt = new Map<string, number>();
  private readonly blind = new WeakSet<Connection>();

  /** In ms; 0 when none is queued. */
  async oldestMs(
    jetStream: JetStreamQueries,
    method: MethodBinding,
    lanes: readonly ConsumerFigures[],
    stream: StreamFigures | undefined,
  ): Promise<number> {
    if (!stream) {
      return 0;
    }
    const marks = this.note(method.service.stream, stream);
    const ages = await Promise.all(
      method.queues.map(async (queue, index) => {
        const lane = lanes[index];
        if (!lane || lane.num_pending === 0) {
          this.emptyAt.set(queue.subject, Date.parse(lane?.ts || stream.ts));
          return 0;
        }
        const storedAt =
          (await this.read(jetStream, method, queue, lane)) ??
          Math.max(
            storedAfter(marks, lane.delivered.stream_seq),
            this.emptyAt.get(queue.subject) ?? 0,
            Date.parse(stream.state.first_ts),
          );
        return Math.max(0, Date.parse(stream.ts) - storedAt);
      }),
    );
    return Math.max(...ages);
  }

  /** When the oldest request was stored that was not delivered; undefined when nobody tells. */
  private async read(
    jetStream: JetStreamQueries,
    { service }: MethodBinding,
    { subject }: Queue,
    { delivered }: ConsumerFigures,
  ): Promise<number | undefined> {
    if (this.blind.has(jetStream.connection)) {
      return undefined;
    }
    try {
      const from = delivered.stream_seq + 1;
      return (await jetStream.first(service.stream, `${subject}.>`, from))?.storedAtMs;
    } catch (error) {
      if (ConnectError.from(error).code !== Code.PermissionDenied) {
        throw error;
      }
      this.blind.add(jetStream.connection);
      return undefined;
    }
  }

  private note(name: string, { ts, state }: StreamFigures): readonly Mark[] {
    const marks = this.marks.get(name) ?? [];
    this.marks.set(name, marks);
    const last = marks.at(-1);
    const mark = { at: Date.parse(ts), sequence: state.last_seq };
    if (last && last.at > mark.at) {
      // Another collection has heard of a later state.
      return marks;
    }
    if (last && last.sequence > mark.sequence) {
      // The stream was made again.
      marks.length = 0;
    }
    if (last?.sequence === mark.sequence && marks.length > 0) {
      marks[marks.length - 1] = mark;
    } else {
      marks.push(mark);
    }
    if (marks.length > maxMarks) {
      // Of old ones every second is enough.
      const kept = marks.filter((_, index) => index % 2 === 0 || index >= maxMarks / 2);
      marks.splice(0, marks.length, ...kept);
    }
    return marks;
  }
}

/** The latest moment at which the stream had no message above a sequence. */
function storedAfter(marks: readonly Mark[], sequence: number): number {
  return marks.findLast((mark) => mark.sequence <= sequence)?.at ?? 0;
}
