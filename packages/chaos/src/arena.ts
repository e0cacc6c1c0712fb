import { setTimeout as delay } from "node:timers/promises";
import type { NatsServer } from "@jetrpc/testing";
import { Child } from "./child.js";
import type { BoundedLog } from "./evidence.js";
import type { FromClient, Said, Upload } from "./message.js";
import { TcpProxy } from "./tcp-proxy.js";

/**
 * A worker or client, behind proxies of its own. It comes back when it dies, and is
 * told what it uploaded then.
 */
export class Member {
  /** True while it has to stay dead. */
  private isDown = false;

  private constructor(
    private child: Child,
    readonly proxies: readonly TcpProxy[],
    private readonly respawn: () => Child,
  ) {}

  static async start(
    script: "worker" | "client",
    servers: readonly NatsServer[],
    env: () => Record<string, string>,
    log: BoundedLog,
    hear: (message: Said) => void,
  ): Promise<Member> {
    const proxies = await Promise.all(servers.map(({ port }) => TcpProxy.start(port)));
    const url = proxies.map(({ port }) => `nats://127.0.0.1:${port}`).join(",");
    const uploads = new Map<string, Upload>();
    const hearAll = (message: unknown) => {
      const said = message as FromClient;
      if (!("uploads" in said)) {
        hear(said);
      } else if (said.isDone) {
        uploads.delete(said.uploads.callId);
      } else {
        uploads.set(said.uploads.callId, said.uploads);
      }
    };
    const spawn = () => {
      const half = { CHAOS_UPLOADS: JSON.stringify([...uploads.values()]) };
      return Child.start(script, { NATS_URL: url, ...half, ...env() }, log, hearAll);
    };
    return new Member(spawn(), proxies, spawn);
  }

  /** Ends it by a signal, and lets it come back after a while. */
  async crash(signal: "SIGKILL" | "SIGTERM", downMs: number): Promise<void> {
    if (this.isDown) {
      return;
    }
    this.isDown = true;
    await this.child.end(signal);
    await delay(downMs);
    this.child = this.respawn();
    this.isDown = false;
  }

  get isRunning(): boolean {
    return this.child.isRunning;
  }

  /** Starts it again if it died by itself. */
  revive(): void {
    if (!this.isDown && !this.child.isRunning) {
      this.child = this.respawn();
    }
  }

  async suspend(ms: number): Promise<void> {
    const { child } = this;
    child.signal("SIGSTOP");
    await delay(ms);
    child.signal("SIGCONT");
  }

  send(message: string): void {
    this.child.send(message);
  }

  async stop(): Promise<void> {
    await this.child.end("SIGKILL");
    for (const proxy of this.proxies) {
      proxy.close();
    }
  }
}
