import { Code, ConnectError } from "@connectrpc/connect";
import type { Connection } from "@jetrpc/runtime";

interface Held {
  readonly connection: Promise<Connection>;
  users: number;
  idle: NodeJS.Timeout | undefined;
}

/** The connections of owners: one for each who calls, closed when it has been idle for a while. */
export class Connections {
  private readonly held = new Map<string, Held>();

  constructor(
    private readonly connect: (owner: string) => Promise<Connection>,
    private readonly idleMs: number,
    /** Most connections; above it the one that was idle longest is closed. */
    private readonly most: number,
  ) {}

  /**
   * Lends the connection of an owner. Throws ResourceExhausted when there are too many that all
   * are in use, and what `connect` and `use` throw.
   */
  async with<T>(owner: string, use: (connection: Connection) => Promise<T>): Promise<T> {
    const held = this.held.get(owner) ?? this.open(owner);
    clearTimeout(held.idle);
    held.users += 1;
    try {
      return await use(await held.connection);
    } finally {
      held.users -= 1;
      if (held.users === 0 && this.held.get(owner) === held) {
        // The last of the map is the one that was used last.
        this.held.delete(owner);
        this.held.set(owner, held);
        held.idle = setTimeout(() => this.forget(owner, held, true), this.idleMs).unref();
      }
    }
  }

  /** Closes all. */
  async close(): Promise<void> {
    const all = [...this.held];
    await Promise.all(all.map(([owner, held]) => this.forget(owner, held, true)));
  }

  private open(owner: string): Held {
    if (this.held.size >= this.most) {
      this.forgetIdle();
    }
    const held: Held = { connection: this.connect(owner), users: 0, idle: undefined };
    this.held.set(owner, held);
    held.connection.then(
      // The next call tries anew.
      ({ closed }) => closed.then(() => this.forget(owner, held, false)),
      () => this.forget(owner, held, false),
    );
    return held;
  }

  /** Closes the connection that was idle longest. Throws ResourceExhausted when all are in use. */
  private forgetIdle(): void {
    for (const [owner, held] of this.held) {
      if (held.users === 0) {
        void this.forget(owner, held, true);
        return;
      }
    }
    const text = `${this.most} owners call at once: that is the most; try again later`;
    throw new ConnectError(text, Code.ResourceExhausted, { "retry-after": "1" });
  }

  private async forget(owner: string, held: Held, close: boolean): Promise<void> {
    clearTimeout(held.idle);
    if (this.held.get(owner) === held) {
      this.held.delete(owner);
    }
    if (close) {
      await held.connection.then((connection) => connection.close()).catch(() => undefined);
    }
  }
}
