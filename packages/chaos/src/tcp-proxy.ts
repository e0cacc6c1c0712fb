import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** A TCP proxy before one server for one process: its connections can be harmed. */
export class TcpProxy {
  private readonly sockets = new Set<Socket>();
  private delayMs = 0;
  private isClosed = false;
  private isSilent = false;

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async start(targetPort: number): Promise<TcpProxy> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const proxy = new TcpProxy(server, typeof address === "object" && address ? address.port : 0);
    server.on("connection", (near) => proxy.join(near, targetPort));
    return proxy;
  }

  /** Breaks all connections. */
  cut(): void {
    for (const socket of this.sockets) {
      socket.destroy();
    }
  }

  /** Breaks all connections, and refuses others, until `mend()`. */
  refuse(): void {
    this.isClosed = true;
    this.cut();
  }

  /** Lets nothing through without breaking a connection, until `mend()`. */
  silence(): void {
    this.isSilent = true;
    for (const socket of this.sockets) {
      socket.pause();
    }
  }

  /** Delays all that comes, until `mend()`. */
  slow(delayMs: number): void {
    this.delayMs = delayMs;
  }

  mend(): void {
    this.isClosed = false;
    this.delayMs = 0;
    if (this.isSilent) {
      this.isSilent = false;
      for (const socket of this.sockets) {
        socket.resume();
      }
    }
  }

  close(): void {
    this.cut();
    this.server.close();
  }

  private join(near: Socket, targetPort: number): void {
    if (this.isClosed) {
      near.destroy();
      return;
    }
    const far = connect(targetPort, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(from);
      from.setNoDelay(true);
      from.on("data", this.passTo(to));
      from.on("error", () => undefined);
      from.on("close", () => {
        this.sockets.delete(from);
        to.destroy();
      });
      if (this.isSilent) {
        from.pause();
      }
    }
  }

  /** Passes on what comes, each part after the one before it, however long that is delayed. */
  private passTo(to: Socket): (data: Buffer) => void {
    let waiting = 0;
    let before: Promise<unknown> = Promise.resolve();
    const write = (data: Buffer) => to.destroyed || to.write(data);
    return (data) => {
      if (waiting === 0 && this.delayMs === 0) {
        write(data);
        return;
      }
      waiting++;
      before = Promise.all([before, delay(this.delayMs)]).then(() => {
        waiting--;
        write(data);
      });
    };
  }
}
