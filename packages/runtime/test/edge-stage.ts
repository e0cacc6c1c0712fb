import {
  type CallStatus,
  Code,
  ConnectError,
  type Connection,
  createClient,
  type DurableServerStreamingMethod,
  type DurableUnaryMethod,
  startWorker,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { type NatsServer, startNats } from "@jetrpc/testing";
import {
  type Caught,
  type EdgeMethod,
  type EdgeState,
  logAfter,
  outcomeOf,
  type Party,
  type RowData,
  scenarios,
} from "./edges.js";
import { EdgeService, type RequestSchema, type ResponseSchema } from "./gen/test/v1/test_pb.js";
import { startProcess, type TestProcess } from "./process.js";
import { collect, until } from "./support.js";
import { Stops, WireTap } from "./wire-tap.js";

type Unary = DurableUnaryMethod<typeof RequestSchema, typeof ResponseSchema>;
type Streaming = DurableServerStreamingMethod<typeof RequestSchema, typeof ResponseSchema>;
type EdgeClient = Record<Exclude<EdgeMethod, "flow">, Unary> & { flow: Streaming };

/** How long calls may take to be where they are caught, or to end, in ms. */
const patienceMs = 25_000;

/** A call that is caught before or after a step along its edge. */
export type Row = Caught & RowData;

/** What became of the call of a row. */
export interface Seen {
  /** It was caught where it was to be. */
  isCaught: boolean;
  /** What status() showed then. */
  state?: EdgeState;
  /** Its log in the end, entries with commas between. */
  log: string;
  /** How it ended for who attached to it: `done` and the messages of a stream, or a code. */
  attached?: string;
  /** What the client process said that waited for it, if one did. */
  waited?: string | undefined;
  isDeadLetter: boolean;
  /** How often its handler was begun. */
  runs: number;
}

/** Every edge, every step along it, before and after; strays have a schema of their own. */
export function rowsOf(party: Party, strays = false): Row[] {
  const rows: Row[] = [];
  for (const scenario of scenarios.filter(({ isStray = false }) => isStray === strays)) {
    for (const step of scenario.steps) {
      for (const when of step.isDelivery ? (["before"] as const) : (["before", "after"] as const)) {
        const id = `${party}-${String(rows.length + 1).padStart(3, "0")}`;
        const method = strays
          ? "Gone"
          : scenario.method.replace(/^./, (letter) => letter.toUpperCase());
        rows.push({ scenario, step, when, id, method });
      }
    }
  }
  return rows;
}

/**
 * False where nobody may ask for the status: that ends a call whose time is over, and
 * here somebody else is to do it.
 */
export function mayBeAsked({ scenario, step, when }: Row): boolean {
  return scenario.to !== "expired" || (step.states !== undefined && when === "after");
}

/**
 * Runs the calls of all rows against one server, each until it is caught, then kills
 * one party of all of them at once, and lets the others and those who come after it
 * bring the calls to their ends.
 */
export class Stage {
  private readonly stops = new Stops();
  private readonly processes: TestProcess[] = [];
  private readonly closes: (() => unknown)[] = [];
  private readonly caught = new Set<Row>();
  private readonly states = new Map<Row, EdgeState>();
  private server!: NatsServer;
  private client!: EdgeClient;
  private request!: Ask;

  constructor(
    private readonly party: Party,
    private readonly rows: readonly Row[],
  ) {}

  /** Ends all that was started. */
  async close(): Promise<void> {
    for (const close of this.closes.splice(0).reverse()) {
      await close();
    }
  }

  async run(): Promise<Map<Row, Seen>> {
    await this.open();
    const { stops, party, rows } = this;
    const clientTap = await this.tap();
    const workerTap = await this.tap();
    const client = this.start("edge-client.mjs", clientTap.url);
    await client.says("ready");

    // What happened before the worker came that is to be killed.
    const lost = rows.filter(({ scenario }) => scenario.isLost);
    await Promise.all(lost.map((row) => this.submit(client, row)));
    await this.loseDeliveries(lost);
    const late = rows.filter(({ scenario }) => scenario.isLate);
    await Promise.all(late.map((row) => this.submit(client, row)));
    await new Promise((resolve) => setTimeout(resolve, 100));

    const reached = rows.map((row) =>
      stops
        .add(row.id, row.when, (frame) => row.step.matches(frame, row))
        .then(() => this.caught.add(row)),
    );

    const worker = this.start("edge-worker.mjs", workerTap.url, "run,flow,once");
    const drained = this.start("edge-worker.mjs", workerTap.url, "back");
    await Promise.all([worker.says("ready"), drained.says("ready")]);

    for (const row of rows) {
      // A client that is killed has not said all.
      this.drive(client, row).catch(() => undefined);
    }
    const back = rows.filter(({ scenario }) => scenario.edge === "given back");
    await Promise.all(back.map((row) => this.reaches(row, "running")));
    drained.signal("SIGTERM");
    await withinPatience(Promise.all(reached));
    const asked = rows.filter(mayBeAsked);
    await Promise.all(asked.map(async (row) => this.states.set(row, await this.stateOf(row))));

    if (party === "server") {
      await this.server.kill();
      await until(() => clientTap.isIdle && workerTap.isIdle);
      stops.release();
      await this.server.restart();
      // The connections to it are not there at once.
      await withinPatience(until(() => this.isAnswered()));
    } else {
      const victims = party === "client" ? [client] : [worker, drained];
      const tap = party === "client" ? clientTap : workerTap;
      await Promise.all(victims.map((victim) => victim.end("SIGKILL")));
      await until(() => tap.isIdle);
      stops.release();
    }

    this.start("edge-worker.mjs", this.server.url, "run,flow,once,back,wait", "go");
    await this.repeat();
    await this.untilEnded(rows.filter((row) => outcomeOf(logAfter(party, row)) === "cancelled"));
    worker.write("go");
    return await this.look(client);
  }

  /** How many requests are in the queue when all is over. */
  async queued(): Promise<number> {
    let messages = -1;
    await withinPatience(
      until(async () => {
        const info = await this.request("$JS.API.STREAM.INFO.EDGE");
        messages = info.json().state?.messages ?? -1;
        return messages === 0;
      }),
    );
    return messages;
  }

  private async open(): Promise<void> {
    this.server = await startNats();
    this.closes.push(() => this.server.stop());
    const connection = await connect({
      nats: { servers: this.server.url, reconnectTimeWait: 50 },
    });
    this.closes.push(() => connection.close());
    this.client = createClient<EdgeClient>(EdgeService, connection);
    this.request = (subject, body, timeout = 5_000) =>
      connection.nats.request(subject, body && JSON.stringify(body), {
        timeout,
        // A delivery keeps the subject it was stored on: no mux finds where it belongs.
        noMux: subject.startsWith("$JS.API.CONSUMER.MSG.NEXT."),
      });
    await makeStreams(connection);
  }

  private isAnswered(): Promise<boolean> {
    return this.request("$JS.API.INFO", undefined, 200).then(
      () => true,
      () => false,
    );
  }

  private async tap(): Promise<WireTap> {
    const tap = await WireTap.start(this.server.port, this.stops);
    this.closes.push(() => tap.close());
    return tap;
  }

  private start(script: string, url: string, ...args: string[]): TestProcess {
    const child = startProcess(script, { NATS_URL: url }, ...args);
    this.processes.push(child);
    this.closes.push(() => child.end("SIGKILL"));
    return child;
  }

  private async submit(client: TestProcess, { id, scenario }: Row): Promise<void> {
    const { method, request, timeoutMs, startsInMs } = scenario;
    const notBefore = startsInMs && Date.now() + startsInMs;
    send(client, "submit", { id, method, request, timeoutMs, notBefore });
    await client.says(`submit ${id}: done`);
  }

  /** Takes calls from their queues as a worker does that is killed at once. */
  private async loseDeliveries(rows: readonly Row[]): Promise<void> {
    for (const method of new Set(rows.map((row) => row.method))) {
      for (const _row of rows.filter((row) => row.method === method)) {
        await this.request(`$JS.API.CONSUMER.MSG.NEXT.EDGE.${method}`, { batch: 1 });
      }
    }
  }

  /** Brings a call to where it is caught. */
  private async drive(client: TestProcess, row: Row): Promise<void> {
    const { id, scenario } = row;
    const { method, isLost, isLate, isLeft, act } = scenario;
    if (!isLost && !isLate) {
      await this.submit(client, row);
    }
    if (!isLeft) {
      send(client, "follow", { id, method });
    }
    if (act?.command === "replay") {
      row.letter = await this.untilLetter(row);
    }
    if (act) {
      await this.reaches(row, act.state);
      send(client, act.command, { id, method });
    }
  }

  /** What a client does that comes back: it repeats what the one before it may not have done. */
  private async repeat(): Promise<void> {
    const connection = await connect({ nats: { servers: this.server.url } });
    this.closes.push(() => connection.close());
    const operator = createOperator(connection, EdgeService);
    if (this.party !== "client") {
      return;
    }
    for (const { scenario, id } of this.rows) {
      if (scenario.edge === "replayed") {
        for (const letter of await collect(operator.deadLetters({ callId: id }))) {
          await letter.replay();
        }
      } else if (scenario.edge === "canceled before its time") {
        await this.client.run.attach(id).cancel();
      } else if (scenario.timeoutMs && scenario.steps[0]?.by === "client") {
        void this.follow(scenario.method, id);
      }
    }
  }

  private async look(client: TestProcess): Promise<Map<Row, Seen>> {
    await this.untilEnded(this.rows);
    const all = new Map<Row, Seen>();
    await Promise.all(
      this.rows.map(async (row) => {
        const { id, scenario } = row;
        const log = await this.readLog(row);
        // A dead letter is stored after the end.
        const isFailed = log.endsWith("failed");
        await withinPatience(
          until(async () => !isFailed || (await this.letterOf(row)) !== undefined),
        );
        all.set(row, {
          isCaught: this.caught.has(row),
          state: this.states.get(row),
          log,
          attached: await this.follow(scenario.method, id),
          ...(this.party !== "client" &&
            !scenario.isLeft &&
            scenario.edge !== "replayed" && {
              waited: await client.hears((line) => line.startsWith(`follow ${id}: `)),
            }),
          isDeadLetter: (await this.letterOf(row)) !== undefined,
          runs: this.processes
            .flatMap(({ heard }) => heard)
            .filter((line) => line.startsWith(`begun ${id} `)).length,
        });
      }),
    );
    return all;
  }

  private async follow(method: EdgeMethod, id: string): Promise<string> {
    const done =
      method === "flow"
        ? collect(this.client.flow.attach(id)).then((all) => all.map(({ index }) => index))
        : this.client[method].attach(id).result();
    return await done.then(
      (result) => (Array.isArray(result) ? `done ${result.join(" ")}` : "done"),
      (error) => Code[ConnectError.from(error).code] ?? "",
    );
  }

  private async stateOf({ scenario, id }: Row): Promise<EdgeState> {
    const status: CallStatus | undefined = await this.client[scenario.method]
      .attach(id)
      .status()
      .catch((error) => {
        if (ConnectError.from(error).code !== Code.NotFound) {
          throw error;
        }
        return undefined;
      });
    return status?.state;
  }

  private async reaches(row: Row, state: EdgeState): Promise<void> {
    await withinPatience(until(async () => (await this.stateOf(row)) === state));
  }

  /** Waits until calls have ended as they are to end, or never do. */
  private async untilEnded(rows: readonly Row[]): Promise<void> {
    const isEnded = async (row: Row) => {
      const wanted = outcomeOf(logAfter(this.party, row));
      return wanted === ""
        ? (await this.stateOf(row)) === undefined
        : (await this.readLog(row)).endsWith(` ${wanted}`);
    };
    await withinPatience(Promise.all(rows.map((row) => until(() => isEnded(row)))));
  }

  private readLog(row: Row): Promise<string> {
    return readLog(this.request, row);
  }

  private letterOf(row: Row): Promise<number | undefined> {
    return letterOf(this.request, row);
  }

  private async untilLetter(row: Row): Promise<number> {
    let letter: number | undefined;
    await until(async () => {
      letter = await this.letterOf(row);
      return letter !== undefined;
    });
    return letter as number;
  }
}

/** Makes the streams of EdgeService, and all its queues. */
export async function makeStreams(connection: Connection): Promise<void> {
  const handler = () => ({});
  const impl = { run: handler, once: handler, back: handler, wait: handler };
  const flow = async function* () {};
  const worker = await startWorker(EdgeService, { ...impl, flow }, connection);
  await worker.drain();
}

/** Asks the server. */
export type Ask = (subject: string, body?: object, timeout?: number) => Promise<Answer>;

/** A call's log, its entries with commas between. */
export async function readLog(ask: Ask, { id, method }: RowData): Promise<string> {
  const entries: string[] = [];
  for (let seq = 1; ; ) {
    const { headers } = await ask("$JS.API.DIRECT.GET.EDGE_LOG", {
      seq,
      next_by_subj: `test.v1.EdgeService.log.${method}._._.${id}.entry`,
    });
    const entry = headers?.get("Jetrpc-Entry");
    if (!entry) {
      return entries.join(", ");
    }
    entries.push(entry);
    seq = Number(headers?.get("Nats-Sequence")) + 1;
  }
}

/** Where a call's dead letter is stored, if there is one. */
export async function letterOf(ask: Ask, { id, method }: RowData): Promise<number | undefined> {
  const subject = `test.v1.EdgeService.dead.${method}._._.${id}`;
  const { headers } = await ask(`$JS.API.DIRECT.GET.EDGE_DEAD.${subject}`);
  return Number(headers?.get("Nats-Sequence")) || undefined;
}

interface Answer {
  readonly headers?: { get(name: string): string };
  json(): { state?: { messages: number } };
}

function send(client: TestProcess, command: string, what: object): void {
  client.write(JSON.stringify({ command, ...what }));
}

/** Waits for what may not come: then the rows tell which one it was. */
async function withinPatience(work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, patienceMs);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
