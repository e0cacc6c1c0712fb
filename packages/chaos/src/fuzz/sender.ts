import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Where answers to the fuzzer's own questions come. */
const ackPrefix = "fuzz.ack.";

/** Writes messages into a socket as they are. It opens a new connection when the server closes one. */
export class Sender {
  /** How often the server closed the connection. */
  closed = 0;
  /** Errors that the server told, and how often. */
  readonly errors = new Map<string, number>();
  private socket: Socket | undefined;
  private nextAsk = 0;
  private readonly asked = new Map<number, () => void>();
  /** Callbacks that ask again when the connection is lost. */
  private readonly asking = new Map<number, () => void>();
  /** Callbacks that wait until the socket takes more. */
  private readonly waiting: (() => void)[] = [];
  private isOver = false;

  constructor(private readonly port: number) {}

  /** Sends messages, and waits while the server takes no more. */
  async write(messages: Buffer): Promise<void> {
    const socket = await this.connected();
    if (!socket.write(messages)) {
      await new Promise<void>((resolve) => {
        this.waiting.push(resolve);
      });
    }
  }

  /** Sends a request, again where the connection was lost, until it is answered. */
  async ask(subject: string): Promise<void> {
    const number = this.nextAsk++;
    let isAnswered = false;
    const answered = new Promise<void>((resolve) => {
      this.asked.set(number, () => {
        isAnswered = true;
        resolve();
      });
    });
    while (!isAnswered && !this.isOver) {
      const socket = await this.connected();
      const lost = new Promise<void>((resolve) => {
        this.asking.set(number, resolve);
      });
      socket.write(`PUB ${subject} ${ackPrefix}${number} 0\r\n\r\n`);
      await Promise.race([answered, lost]);
    }
    this.asked.delete(number);
    this.asking.delete(number);
  }

  close(): void {
    this.isOver = true;
    this.socket?.destroy();
  }

  private async connected(): Promise<Socket> {
    while (!this.socket && !this.isOver) {
      const socket = connect(this.port, "127.0.0.1");
      socket.on("error", () => undefined);
      try {
        await once(socket, "connect");
      } catch {
        await delay(100);
        continue;
      }
      socket.setNoDelay(true);
      socket.on("data", (data: Buffer) => this.read(data, socket));
      socket.on("close", () => {
        this.socket = undefined;
        this.closed += this.isOver ? 0 : 1;
        this.goOn();
        for (const askAgain of this.asking.values()) {
          askAgain();
        }
      });
      socket.on("drain", () => this.goOn());
      socket.write(
        `CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"name":"fuzzer"}\r\nSUB ${ackPrefix}* 1\r\n`,
      );
      this.socket = socket;
    }
    return this.socket as Socket;
  }

  private goOn(): void {
    for (const resolve of this.waiting.splice(0)) {
      resolve();
    }
  }

  /** Only what is asked for is answered to, so what comes is short, and comes in one piece. */
  private read(data: Buffer, socket: Socket): void {
    const text = data.toString("latin1");
    if (/^PING\r$/m.test(text)) {
      socket.write("PONG\r\n");
    }
    for (const [, error = ""] of text.matchAll(/^-ERR '([^']*)'/gm)) {
      this.errors.set(error, (this.errors.get(error) ?? 0) + 1);
    }
    for (const [, number] of text.matchAll(/^H?MSG fuzz\.ack\.(\d+) /gm)) {
      this.asked.get(Number(number))?.();
    }
  }
}
