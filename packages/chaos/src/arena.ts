import { setTimeout as delay } from "node:timers/promises";
import type { NatsServer } from "@jetrpc/testing";
import { Child } from "./child.js";
import type { Evidence } from "./evidence.js";
import { JournalReader } from "./journal.js";
import type { Said, Upload } from "./message.js";
import { TcpProxy } from "./tcp-proxy.js";

/** The part that a {@link Member} plays. */
export interface Part {
  readonly script: "worker" | "client";
  /** Of its log and its journal. */
  readonly name: string;
  /** True when it is never killed, so that its memory can be watched. */
  readonly isSpared: boolean;
  /** Its environment, made for each of its processes. */
  env(): Record<string, string>;
}

/**
 * A worker or client, behind proxies of its own. It comes back when it dies, and is
 * told what it uploaded then.
 */
export class Member {
  /** True while it has to stay dead. */
  private isDown = false;
  private isReady = false;
  private readonly heard: Said[] = [];
  private readonly uploads = new Map<string, Upload>();
  private readonly journal: JournalReader;
  private child: Child;

  private constructor(
    private readonly part: Part,
    readonly proxies: readonly TcpProxy[],
    private readonly evidence: Evidence,
    private readonly crashed: (why: string) => void,
  ) {
    this.journal = new JournalReader(evidence.path(`${part.name}.journal`));
    this.child = this.spawn();
  }

  /** `crashed` is told when one of its processes ends by a mistake of its own. */
  static async start(
    part: Part,
    servers: readonly NatsServer[],
    evidence: Evidence,
    crashed: (why: string) => void,
  ): Promise<Member> {
    const proxies = await Promise.all(servers.map(({ port }) => TcpProxy.start(port)));
    return new Member(part, proxies, evidence, crashed);
  }

  get isSpared(): boolean {
    return this.part.isSpared;
  }

  get isRunning(): boolean {
    return this.child.isRunning;
  }

  /** Waits until its first process works: many start slowly together. */
  async whenReady(): Promise<void> {
    for (;;) {
      this.read();
      if (this.isReady) {
        return;
      }
      await delay(50);
    }
  }

  /** The lines that it has said since the last call of this. */
  hear(): Said[] {
    this.read();
    return this.heard.splice(0);
  }

  private read(): void {
    for (const said of this.journal.read()) {
      if ("ready" in said) {
        this.isReady = true;
      } else if (!("uploads" in said)) {
        this.heard.push(said);
      } else if (said.isDone) {
        this.uploads.delete(said.uploads.callId);
      } else {
        this.uploads.set(said.uploads.callId, said.uploads);
      }
    }
  }

  /** Ends it by a signal, and lets it come back after a while. */
  async crash(signal: "SIGKILL" | "SIGTERM", downMs: number): Promise<void> {
    if (this.isDown) {
      return;
    }
    this.isDown = true;
    await this.child.end(signal);
    await delay(downMs);
    this.child = this.spawn();
    this.isDown = false;
  }

  /** Starts it again if it died by itself. */
  revive(): void {
    if (!this.isDown && !this.child.isRunning) {
      this.child = this.spawn();
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

  /** Lets it end when it has done what it does. */
  finish(): void {
    this.child.mayEnd();
    this.send("stop");
  }

  async stop(): Promise<void> {
    await this.child.end("SIGKILL");
    this.journal.close();
    for (const proxy of this.proxies) {
      proxy.close();
    }
  }

  private spawn(): Child {
    this.read();
    const { script, name, isSpared, env } = this.part;
    const url = this.proxies.map(({ port }) => `nats://127.0.0.1:${port}`).join(",");
    return Child.start(
      script,
      {
        NATS_URL: url,
        CHAOS_JOURNAL: this.evidence.path(`${name}.journal`),
        CHAOS_SPARED: isSpared ? "1" : "",
        CHAOS_UPLOADS: JSON.stringify([...this.uploads.values()]),
        ...env(),
      },
      this.evidence.log(name),
      this.crashed,
    );
  }
}
