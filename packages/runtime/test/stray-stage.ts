import type { Connection } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { createOperator, type Operator } from "@jetrpc/runtime/operator";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { type Ask, letterOf, makeStreams, type Row, readLog } from "./edge-stage.js";
import type { Party } from "./edges.js";
import { EdgeService } from "./gen/test/v1/test_pb.js";
import { startProcess, type TestProcess } from "./process.js";
import { until } from "./support.js";
import { Stops, WireTap } from "./wire-tap.js";

/** A server with a queued call whose method is in no schema, and an operator that buries it. */
export class StrayStage {
  private readonly stops = new Stops();
  private readonly processes: TestProcess[] = [];
  private readonly taps: WireTap[] = [];

  private constructor(
    private readonly row: Row,
    private readonly server: NatsServer,
  ) {}

  static async open(row: Row): Promise<StrayStage> {
    return new StrayStage(row, await startNats());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.processes.map((each) => each.end("SIGKILL")));
    for (const tap of this.taps) {
      tap.close();
    }
    await this.server.stop();
  }

  /** Kills a party where the row says, lets others go on, and tells what there is then. */
  async run(party: Party): Promise<{ log: string; letter: number | undefined; queued: number }> {
    const { row, stops, server } = this;
    const client = await this.start("edge-client.mjs");
    // It has nothing to do with the edge.
    const worker = party === "worker" ? await this.start("edge-worker.mjs", "run") : undefined;
    await this.with(async (ask, _operator, connection) => {
      await makeStreams(connection);
      await ask(`test.v1.EdgeService.queue.Gone._._.${row.id}`);
    });
    const reached = stops.add(row.id, row.when, (frame) => row.step.matches(frame, row));
    client.child.write('{ "command": "bury" }');
    await reached;
    if (party === "server") {
      await server.kill();
      await until(() => this.taps.every((tap) => tap.isIdle));
      stops.release();
      await server.restart();
    } else {
      const victim = worker ?? client;
      await victim.child.end("SIGKILL");
      await until(() => victim.tap.isIdle);
      stops.release();
    }
    if (party === "worker") {
      await client.child.hears((line) => line.startsWith("bury"));
    }
    return await this.with(async (ask, operator) => {
      await operator.buryStrays();
      const info = await ask("$JS.API.STREAM.INFO.EDGE");
      return {
        log: await readLog(ask, row),
        letter: await letterOf(ask, row),
        queued: info.json().state?.messages ?? -1,
      };
    });
  }

  private async start(script: string, ...args: string[]) {
    const tap = await WireTap.start(this.server.port, this.stops);
    this.taps.push(tap);
    const child = startProcess(script, { NATS_URL: tap.url }, ...args);
    this.processes.push(child);
    await child.says("ready");
    return { child, tap };
  }

  /** Does something with a connection of its own. */
  private async with<T>(
    work: (ask: Ask, operator: Operator, connection: Connection) => Promise<T>,
  ): Promise<T> {
    const connection = await connect({ nats: { servers: this.server.url } });
    try {
      const ask: Ask = (subject, body) =>
        connection.nats.request(subject, body && JSON.stringify(body), { timeout: 60_000 });
      return await work(ask, createOperator(connection, EdgeService), connection);
    } finally {
      await connection.close();
    }
  }
}
