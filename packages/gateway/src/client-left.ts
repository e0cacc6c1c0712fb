import type { ServerResponse } from "node:http";
import { constants, type Http2ServerResponse, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";

/** A response of either version of HTTP. */
export type HttpResponse = ServerResponse | Http2ServerResponse;

/** What a client takes bytes from. */
type Taker = Socket | ServerHttp2Stream;

/** Its time-out counts the bytes that are taken. */
function takerOf(response: HttpResponse): Taker | null {
  return "stream" in response ? response.stream : response.socket;
}

/** One for all: to make one with its stack costs as much as the rest of a short request. */
const reason = new DOMException("the client left", "AbortError");

const known = new WeakMap<HttpResponse, ClientLeft>();

/** What is to be done when a connection ends, for requests of HTTP/1.1 that wait for an earlier one. */
const queued = new WeakMap<Socket, Set<() => void>>();

/** Does something when a connection ends, unless its response has ended: Node tells the first one only. */
function onceConnectionEnds(response: ServerResponse, leave: () => void): void {
  const { socket } = response.req;
  let all = queued.get(socket);
  if (!all) {
    const leaving = new Set<() => void>();
    all = leaving;
    queued.set(socket, all);
    socket.once("close", () => {
      for (const each of leaving) {
        each();
      }
    });
  }
  all.add(leave);
  response.once("close", () => all.delete(leave));
}

/** Tells when the client of a request has left, or has its answer. */
export class ClientLeft {
  private hasLeft = false;
  private controller: AbortController | undefined;
  private tell: (() => void) | undefined;
  private isWatched = false;

  /**
   * That of a response. It is asked for as soon as a request is there: nothing tells later that its
   * client has left. `writeTimeoutMs` is how long it may take nothing of what is sent: it has left
   * then, too.
   */
  static of(response: HttpResponse, writeTimeoutMs = 0): ClientLeft {
    let left = known.get(response);
    if (!left) {
      left = new ClientLeft(response, writeTimeoutMs);
      known.set(response, left);
    }
    return left;
  }

  private constructor(
    private readonly response: HttpResponse,
    private readonly writeTimeoutMs: number,
  ) {
    const leave = () => {
      this.hasLeft = true;
      this.tell?.();
      this.controller?.abort(reason);
    };
    response.once("close", leave);
    if (!("stream" in response) && !response.socket) {
      onceConnectionEnds(response, leave);
      // That of the answer before it runs on.
      response.once("socket", (socket: Socket) => socket.setTimeout(0));
    }
  }

  get has(): boolean {
    return this.hasLeft;
  }

  /** Fires when the client has left: made when it is first asked for. */
  get signal(): AbortSignal {
    return this.abortable.signal;
  }

  /** Aborts the signal for another reason. */
  abort(why: unknown): void {
    this.abortable.abort(why);
  }

  /** Waits for an event of the response, or until the client has left; for one event at a time. */
  heard(event: "drain" | "finish"): Promise<void> {
    return new Promise((resolve) => {
      if (this.hasLeft) {
        resolve();
        return;
      }
      this.tell = resolve;
      const taker = takerOf(this.response);
      // A short answer over HTTP/1.1 is with the system at once.
      const isLimited = this.writeTimeoutMs > 0 && taker && taker.writableLength > 0;
      if (isLimited) {
        // Node starts it anew for each part of a write that is taken.
        taker.setTimeout(this.writeTimeoutMs);
        this.watch(taker);
      }
      this.response.once(event, () => {
        // After the end of an answer the time-out of an idle connection runs.
        if (isLimited && event === "drain") {
          taker.setTimeout(0);
        }
        resolve();
      });
    });
  }

  /** Over HTTP/1.1 Node ends the connection itself. */
  private watch(taker: Taker): void {
    if (!this.isWatched && "close" in taker) {
      this.isWatched = true;
      taker.once("timeout", () => taker.close(constants.NGHTTP2_CANCEL));
    }
  }

  private get abortable(): AbortController {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.hasLeft) {
        this.controller.abort(reason);
      }
    }
    return this.controller;
  }
}
