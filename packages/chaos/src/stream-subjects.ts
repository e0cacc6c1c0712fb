import type { NatsConnection } from "@nats-io/transport-node";

/** A stream as it was at one moment. */
export interface StreamSubjects {
  /** Its settings, as the server has them. */
  readonly config: Record<string, unknown> & { readonly republish?: { readonly dest: string } };
  readonly lastSequence: number;
  /** The subjects of its messages. */
  readonly subjects: ReadonlySet<string>;
}

interface StreamInfo {
  readonly config: StreamSubjects["config"];
  readonly state: { readonly last_seq: number; readonly subjects?: Record<string, number> };
  /** Of subjects, when they do not fit into one answer. */
  readonly total?: number;
  readonly limit?: number;
  readonly error?: { readonly code: number; readonly description: string };
}

/**
 * Asks which subjects a stream has messages of, without reading a message: some can
 * be read by nobody. Undefined when there is no such stream. Rejects when no server answers.
 */
export async function streamSubjects(
  nats: NatsConnection,
  stream: string,
  filter = ">",
): Promise<StreamSubjects | undefined> {
  const subjects = new Set<string>();
  let first: StreamInfo | undefined;
  for (let offset = 0; ; ) {
    const body = JSON.stringify({ subjects_filter: filter, offset });
    const reply = await nats.request(`$JS.API.STREAM.INFO.${stream}`, body, { timeout: 10_000 });
    const info = reply.json<StreamInfo>();
    if (info.error?.code === 404) {
      return undefined;
    }
    if (info.error) {
      throw new Error(`${stream}: ${info.error.description}`);
    }
    first ??= info;
    const found = Object.keys(info.state.subjects ?? {});
    for (const subject of found) {
      subjects.add(subject);
    }
    offset += info.limit ?? found.length;
    if (found.length === 0 || offset >= (info.total ?? 0)) {
      return { config: first.config, lastSequence: first.state.last_seq, subjects };
    }
  }
}
