import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** A connection whose bytes the test writes itself. */
export class RawConnection {
  private heard = Buffer.alloc(0);
  /** Resolves when the other side has ended the connection. */
  readonly closed: Promise<void>;

  private constructor(readonly socket: Socket) {
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      this.heard = Buffer.concat([this.heard, bytes]);
    });
  }

  static async open(url: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    return new RawConnection(socket);
  }

  /** All that has come so far. */
  get bytes(): Buffer {
    return this.heard;
  }

  /** Sends text, a character a byte. */
  write(text: string | Uint8Array): void {
    this.socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
  }

  /** The status of each answer of HTTP/1.1, once the first one is there or the connection is closed. */
  async statuses(): Promise<string[]> {
    const found = () =>
      [...this.heard.toString("latin1").matchAll(/HTTP\/1\.1 (\d{3})/g)].map(
        ([, code]) => `${code}`,
      );
    let isClosed = false;
    void this.closed.then(() => {
      isClosed = true;
    });
    while (found().length === 0 && !isClosed) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return found();
  }
}

/** A frame of HTTP/2. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The first bytes of a client of HTTP/2: preface and empty settings. */
export const http2Preface = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1"),
  frame(4, 0, 0),
]);

/** A header of HPACK, neither compressed nor remembered. */
export function header(name: string, value: string): Buffer {
  const text = (it: string) => {
    const bytes = Buffer.from(it, "latin1");
    if (bytes.length < 127) {
      return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    }
    const rest: number[] = [127];
    let length = bytes.length - 127;
    for (; length >= 128; length = Math.floor(length / 128)) {
      rest.push((length % 128) + 128);
    }
    return Buffer.concat([Buffer.from([...rest, length]), bytes]);
  };
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}
