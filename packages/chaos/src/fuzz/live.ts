import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Random } from "../random.js";

/** How many of a kind are remembered. */
const remembered = 64;

/** Subjects of what is under way, the latest ones. */
export class Live {
  /** Where calls of the client that may be harmed wait for answers. */
  readonly clientReplies = new Ring();
  /** Where the worker waits for answers of JetStream. */
  readonly workerReplies = new Ring();
  /** Where the worker waits for queued requests. */
  readonly pulls = new Ring();
  /** Where the worker waits for frames. */
  readonly streams = new Ring();
  /** `<Method>.<owner>.<session>.<id>` of durable calls. */
  readonly calls = new Ring();
  /** Subjects of objects. */
  readonly objects = new Ring();

  /** Takes what a process publishes. Nothing of the clean client is remembered. */
  publishes(subject: string, reply: string): void {
    if (isClean(subject) || isClean(reply)) {
      return;
    }
    const isOpen = reply.startsWith("_INBOX_OPEN");
    if (isOpen) {
      this.clientReplies.add(reply);
    } else if (reply.startsWith("_INBOX_WORKER") && !isOfSomeObject(subject)) {
      (subject.includes(".MSG.NEXT.") ? this.pulls : this.workerReplies).add(reply);
    } else if (subject.startsWith("_INBOX_OPEN") && reply.includes(".stream.")) {
      this.streams.add(reply);
    }
    const call = /\.(?:queue|queue-high|queue-low|later)\.(\w+\.[^.]+\.[^.]+\.[^.]+)$/.exec(
      subject,
    );
    if (call?.[1]) {
      this.calls.add(call[1]);
    } else if (subject.includes(".C.") && (isOpen || !subject.includes(".rpc."))) {
      // Of other objects nobody knows whose they are.
      this.objects.add(subject);
    }
  }
}

/** True of a request about an object whose call, the clean client's maybe, it does not name. */
function isOfSomeObject(subject: string): boolean {
  return /^\$O\.|\.OBJ_/.test(subject) && !/\.C\.(?!rpc\.)/.test(subject);
}

function isClean(subject: string): boolean {
  return subject.includes("_INBOX_CLEAN") || subject.includes(".clean.");
}

class Ring {
  private readonly items: string[] = [];
  private next = 0;

  add(item: string): void {
    this.items[this.next++ % remembered] = item;
  }

  /** One of them; `otherwise` while there is none. */
  pick(random: Random, otherwise: string): string {
    return this.items.length > 0 ? random.pick(this.items) : otherwise;
  }
}

/**
 * A TCP proxy that reads along what a process publishes. A subscription to `>` would tell
 * the same, but then somebody would listen everywhere: the server would say nobody that
 * nobody answers.
 */
export class Tap {
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(targetPort: number, live: Live): Promise<Tap> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const tap = new Tap(server, `nats://127.0.0.1:${port}`);
    server.on("connection", (near) => {
      const far = connect(targetPort, "127.0.0.1");
      const reader = new PublishReader((subject, reply) => live.publishes(subject, reply));
      near.on("data", (data: Buffer) => reader.read(data));
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        tap.sockets.add(from);
        from.setNoDelay(true);
        from.on("error", () => undefined);
        from.on("close", () => {
          tap.sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
    return tap;
  }

  close(): void {
    for (const socket of this.sockets) {
      socket.destroy();
    }
    this.server.close();
  }
}

/** Finds what is published in the bytes that a NATS client writes. */
class PublishReader {
  /** Bytes of a payload that are still to come. */
  private skip = 0;
  private line = "";

  constructor(private readonly take: (subject: string, reply: string) => void) {}

  read(data: Buffer): void {
    let at = Math.min(this.skip, data.length);
    this.skip -= at;
    while (at < data.length) {
      const end = data.indexOf(10, at);
      if (end < 0) {
        this.line += data.toString("latin1", at);
        return;
      }
      const line = this.line + data.toString("latin1", at, end);
      this.line = "";
      at = end + 1;
      const payload = this.payloadAfter(line.trimEnd());
      const here = Math.min(payload, data.length - at);
      at += here;
      this.skip = payload - here;
    }
  }

  /** Length of the payload that follows a line, with its end. */
  private payloadAfter(line: string): number {
    const isPlain = line.startsWith("PUB ");
    if (!isPlain && !line.startsWith("HPUB ")) {
      return 0;
    }
    const [, subject = "", ...rest] = line.split(" ");
    const size = Number(rest.at(-1));
    this.take(subject, rest.length > (isPlain ? 1 : 2) ? (rest[0] ?? "") : "");
    return size + 2;
  }
}
