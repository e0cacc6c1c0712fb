/** A way to queue calls that nobody waits for, and to drain the queue. */
export interface BacklogWay {
  /** Starts the server between, which has nothing queued. */
  startServer(): Promise<BacklogServer>;
  /** Starts what queues calls. What it resolves with queues so many. */
  submit(url: string): Promise<(calls: number, payloadBytes: number) => Promise<void>>;
  /** Starts what does the calls. */
  work(url: string): Promise<void>;
}

/** A server with a queue. */
export interface BacklogServer {
  readonly url: string;
  readonly pid: number;
  state(): Promise<BacklogState>;
  stop(): Promise<void>;
}

/** How far the calls are. */
export interface BacklogState {
  readonly queued: number;
  /** Results that are stored. Undefined where none is. */
  readonly done?: number;
  /** On disk. */
  readonly bytes?: number;
}
