import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A message as it passes between a party and its server. */
export interface Frame {
  /** True on its way to the server. */
  readonly isSent: boolean;
  /** Of an acknowledgement: the subject of the message that it acknowledges. */
  readonly subject: string;
  /** True for an answer to a delivery: `+ACK`, `-NAK` and the like. */
  readonly isAck: boolean;
  readonly headers: string;
  readonly body: string;
}

interface Held {
  readonly connection: TappedConnection;
  readonly isSent: boolean;
  readonly raw: Buffer;
}

interface Stop {
  readonly id: string;
  readonly when: "before" | "after";
  readonly matches: (frame: Frame) => boolean;
  readonly reach: () => void;
  isReached: boolean;
  /** Inbox of the answer that is to be withheld. */
  inbox?: string;
}

/**
 * Where calls are to be caught. From there on nothing of a call passes in either
 * direction, through no tap, until all are released; heartbeats do.
 */
export class Stops {
  private stops: Stop[] = [];
  private held: Held[] = [];

  /**
   * Catches a call before a message that matches has reached the server, or after the
   * server has taken it and before its sender knows. Resolves when it is caught.
   */
  add(id: string, when: Stop["when"], matches: Stop["matches"]): Promise<void> {
    return new Promise((resolve) => {
      const stop: Stop = {
        id,
        when,
        matches,
        isReached: false,
        reach: () => {
          stop.isReached = true;
          resolve();
        },
      };
      this.stops.push(stop);
    });
  }

  /** Lets pass what was withheld, as far as its connection still stands. */
  release(): void {
    this.stops = [];
    for (const { connection, isSent, raw } of this.held.splice(0)) {
      connection.pass(isSent, raw);
    }
  }

  /** Lets a frame pass, or withholds it. */
  take(connection: TappedConnection, frame: Frame, reply: string, raw: Buffer): void {
    const hold = () => this.held.push({ connection, isSent: frame.isSent, raw });
    const answered = frame.isSent
      ? undefined
      : this.stops.find(({ inbox }) => inbox !== undefined && inbox === frame.subject);
    if (answered) {
      hold();
      answered.reach();
      return;
    }
    if (this.stops.some((stop) => stop.isReached && concerns(stop.id, frame))) {
      hold();
      return;
    }
    const stop = this.stops.find((each) => !each.isReached && !each.inbox && each.matches(frame));
    if (!stop) {
      connection.pass(frame.isSent, raw);
    } else if (stop.when === "before") {
      hold();
      stop.reach();
    } else if (frame.isAck) {
      connection.pass(true, raw);
      connection.confirm(stop.reach);
    } else {
      stop.inbox = reply;
      connection.pass(true, raw);
    }
  }
}

/** True for what passes of a call, except for heartbeats. */
function concerns(id: string, { subject, body }: Frame): boolean {
  const isOfCall = subject.split(".").includes(id) || body.includes(`.${id}.`);
  return isOfCall && !body.startsWith("+WPI");
}

/** A proxy between parties and their server that understands what NATS messages pass. */
export class WireTap {
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(targetPort: number, stops: Stops): Promise<WireTap> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const tap = new WireTap(server, `nats://127.0.0.1:${port}`);
    server.on("connection", (near) => {
      const far = connect(targetPort, "127.0.0.1");
      const connection = new TappedConnection(near, far, stops);
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        tap.sockets.add(socket);
        socket.setNoDelay(true);
        socket.on("data", (data) => connection.receive(socket === near, data));
        socket.on("error", () => undefined);
        socket.on("close", () => {
          tap.sockets.delete(socket);
          other.destroy();
        });
      }
    });
    return tap;
  }

  /** True when no party is connected. */
  get isIdle(): boolean {
    return this.sockets.size === 0;
  }

  /** Cuts all connections: what is withheld of them is lost. Parties may connect again. */
  cut(): void {
    for (const socket of this.sockets) {
      socket.destroy();
    }
  }

  close(): void {
    this.cut();
    this.server.close();
  }
}

class TappedConnection {
  private readonly rest = { sent: Buffer.alloc(0), received: Buffer.alloc(0) };
  /** Subjects of delivered messages, by what acknowledges them. */
  private readonly delivered = new Map<string, string>();
  /** What waits for a PONG, in order: the party itself where it is undefined. */
  private readonly pings: ((() => void) | undefined)[] = [];

  constructor(
    private readonly near: Socket,
    private readonly far: Socket,
    private readonly stops: Stops,
  ) {}

  pass(isSent: boolean, raw: Buffer): void {
    const to = isSent ? this.far : this.near;
    if (!to.destroyed) {
      to.write(raw);
    }
  }

  /** Calls back when the server has taken all that was sent. */
  confirm(taken: () => void): void {
    this.pings.push(taken);
    this.pass(true, Buffer.from("PING\r\n"));
  }

  receive(isSent: boolean, data: Buffer): void {
    const side = isSent ? "sent" : "received";
    let rest = Buffer.concat([this.rest[side], data]);
    for (;;) {
      const end = rest.indexOf("\r\n");
      if (end < 0) {
        break;
      }
      const line = rest.toString("latin1", 0, end);
      const [verb = "", ...args] = line.split(" ");
      const isMessage = /^H?(PUB|MSG)$/.test(verb);
      const size = end + 2 + (isMessage ? Number(args.at(-1)) + 2 : 0);
      if (rest.length < size) {
        break;
      }
      const raw = rest.subarray(0, size);
      rest = rest.subarray(size);
      if (isMessage) {
        this.takeMessage(isSent, verb, args, raw, raw.subarray(end + 2, size - 2));
      } else {
        this.takeLine(isSent, verb, raw);
      }
    }
    this.rest[side] = rest;
  }

  private takeLine(isSent: boolean, verb: string, raw: Buffer): void {
    if (isSent && verb === "PING") {
      this.pings.push(undefined);
    }
    const taken = !isSent && verb === "PONG" ? this.pings.shift() : undefined;
    if (taken) {
      taken();
    } else {
      this.pass(isSent, raw);
    }
  }

  private takeMessage(
    isSent: boolean,
    verb: string,
    args: readonly string[],
    raw: Buffer,
    content: Buffer,
  ): void {
    // PUB <subject> [reply] <size>, MSG <subject> <sid> [reply] <size>; H: two sizes.
    const sizes = verb.startsWith("H") ? 2 : 1;
    const first = isSent ? 1 : 2;
    const reply = args.length > first + sizes ? (args[first] ?? "") : "";
    const headerLength = sizes === 2 ? Number(args.at(-2)) : 0;
    let subject = args[0] ?? "";
    const acked = isSent ? this.delivered.get(subject) : undefined;
    if (!isSent && reply.startsWith("$JS.ACK.")) {
      this.delivered.set(reply, subject);
    }
    subject = acked ?? subject;
    const frame: Frame = {
      isSent,
      subject,
      isAck: acked !== undefined,
      headers: content.toString("utf8", 0, headerLength),
      body: content.toString("utf8", headerLength),
    };
    this.stops.take(this, frame, reply, raw);
  }
}
