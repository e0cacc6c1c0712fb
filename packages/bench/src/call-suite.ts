import { type CallRow, toRow } from "./call-row.js";
import type { RunRequest } from "./process.js";
import { Servers } from "./servers.js";
import { isStream, type Subject } from "./subject.js";
import { type Round, RoundFailed, SubjectProcesses } from "./subject-processes.js";
import type { CallLoad, CallSuite } from "./suites.js";

/** How long, and how often. */
export interface CallSettings {
  /** Undefined: 5, and 3 for payloads of more than {@link smallBytes}. */
  readonly rounds: number | undefined;
  /** Length of a round. */
  readonly ms: number;
  readonly warmUpMs: number;
  /** Calls of a round of a suite that is cold. */
  readonly firstCalls: number;
}

/** Payloads up to this size are small. */
const smallBytes = 1024;

/** A busy machine makes few calls in the time of a warm-up: V8 has compiled their code after so many. */
const warmCalls = 3_000;

/** Subjects that take part in a load, with what they have measured. */
type Rounds = Map<Subject, Round[]>;

/**
 * Measures the subjects in turns, so that a noisy moment hits all of them alike. One that
 * does not start, or whose calls fail under a load, is left out, and `report` is told.
 */
export async function measureCalls(
  suite: CallSuite,
  subjects: readonly Subject[],
  settings: CallSettings,
  report: (line: string) => void,
): Promise<CallRow[]> {
  await using servers = new Servers();
  const measure = new Measurement(suite, servers, settings, report);
  return await (suite.isCold ? measure.cold(subjects) : measure.warm(subjects));
}

class Measurement {
  constructor(
    private readonly suite: CallSuite,
    private readonly servers: Servers,
    private readonly settings: CallSettings,
    private readonly report: (line: string) => void,
  ) {}

  /** Processes that have made many calls before. */
  async warm(subjects: readonly Subject[]): Promise<CallRow[]> {
    const started = new Map<Subject, SubjectProcesses>();
    try {
      for (const processes of await Promise.all(subjects.map((each) => this.start(each)))) {
        if (processes) {
          started.set(processes.subject, processes);
        }
      }
      for (const [subject, processes] of started) {
        if (!(await this.unlessFailed(() => this.warmUp(processes)))) {
          started.delete(subject);
          await processes.stop();
        }
      }
      const rows: CallRow[] = [];
      for (const load of this.suite.loads) {
        rows.push(
          ...(await this.load(load, [...started.keys()], (subject) =>
            started.get(subject)?.run({ ...load, ms: this.settings.ms }),
          )),
        );
      }
      return rows;
    } finally {
      await Promise.all([...started.values()].map((each) => each.stop()));
    }
  }

  /** The first calls of new processes. */
  async cold(subjects: readonly Subject[]): Promise<CallRow[]> {
    const rows: CallRow[] = [];
    for (const load of this.suite.loads) {
      const request: RunRequest = { ...load, calls: this.settings.firstCalls };
      rows.push(
        ...(await this.load(load, subjects, async (subject) => {
          const processes = await this.start(subject);
          try {
            return await processes?.run(request);
          } finally {
            await processes?.stop();
          }
        })),
      );
    }
    return rows;
  }

  private async load(
    load: CallLoad,
    subjects: readonly Subject[],
    run: (subject: Subject) => Promise<Round | undefined> | undefined,
  ): Promise<CallRow[]> {
    const { suite, message, payloadBytes, inFlight } = load;
    this.report(`${suite}, ${message} of ${payloadBytes} B, ${inFlight} in flight`);
    const rounds: Rounds = new Map(subjects.map((subject) => [subject, []]));
    const count = this.settings.rounds ?? (load.payloadBytes > smallBytes ? 3 : 5);
    for (let round = 0; round < count; round++) {
      for (const [subject, measured] of rounds) {
        const figures = await this.unlessFailed(() => run(subject));
        if (figures) {
          measured.push(figures);
        } else {
          rounds.delete(subject);
        }
      }
    }
    const reference = [...rounds].find(([{ name }]) => name === this.suite.reference)?.[1];
    return [...rounds].map(([{ name }, measured]) => toRow({ ...load, name }, measured, reference));
  }

  private async start(subject: Subject): Promise<SubjectProcesses | undefined> {
    try {
      return await SubjectProcesses.start(subject, this.servers);
    } catch (error) {
      this.report(`left out, because it does not start: ${error}`);
      return undefined;
    }
  }

  /** Code that V8 has not optimised yet is measured by itself. */
  private async warmUp(processes: SubjectProcesses): Promise<Round> {
    const { warmUpMs } = this.settings;
    const has = (message: string) => this.suite.loads.some((load) => load.message === message);
    const isOfStreams = isStream(processes.subject.kind);
    const inFlight = isOfStreams ? 1 : 64;
    const atLeast = isOfStreams ? 0 : warmCalls;
    const of = { inFlight, atLeast };
    const round = processes.run({ ...of, message: "bytes", payloadBytes: 128, ms: warmUpMs });
    if (!has("order")) {
      return round;
    }
    await round;
    return processes.run({ ...of, message: "order", payloadBytes: 0, ms: warmUpMs / 2 });
  }

  private async unlessFailed(
    run: () => Promise<Round | undefined> | undefined,
  ): Promise<Round | undefined> {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof RoundFailed)) {
        throw error;
      }
      this.report(`left out, because calls failed: ${error.message}`);
      return undefined;
    }
  }
}
