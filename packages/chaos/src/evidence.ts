import { appendFileSync, cpSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NatsServer } from "@jetrpc/testing";

/** The size of one file of a log; the file before it is kept as well. */
const logLimitBytes = 8 * 1024 * 1024;

/** A log that keeps its last 8 to 16 MB. */
export class BoundedLog {
  private bytes = 0;

  constructor(private readonly path: string) {
    this.write("");
  }

  write(text: string | Uint8Array): void {
    if (this.bytes > logLimitBytes) {
      renameSync(this.path, `${this.path}.old`);
      this.bytes = 0;
    }
    appendFileSync(this.path, text);
    this.bytes += text.length;
  }
}

/** A temporary folder with what tells why an attack failed. */
export class Evidence {
  readonly folder = mkdtempSync(join(tmpdir(), "jetrpc-chaos-"));
  private readonly logs = new Map<string, BoundedLog>();
  private readonly own = this.log("attack");

  /** Where a file of this name is. */
  path(name: string): string {
    return join(this.folder, name);
  }

  /** A log of this name, the same one each time. */
  log(name: string): BoundedLog {
    const log = this.logs.get(name) ?? new BoundedLog(this.path(`${name}.log`));
    this.logs.set(name, log);
    return log;
  }

  /** Notes what the attack itself does. */
  note(line: string): void {
    this.own.write(`${new Date().toISOString()} ${line}\n`);
  }

  /** Kills the servers, and keeps their stores and logs. */
  async keep(servers: readonly NatsServer[]): Promise<void> {
    for (const [index, server] of servers.entries()) {
      await server.kill();
      const path = join(this.folder, `server-${index + 1}`);
      cpSync(server.storeDir, path, { recursive: true });
      cpSync(server.logFile, `${path}.log`);
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
