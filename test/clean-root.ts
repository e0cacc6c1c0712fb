import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Finished, run } from "./run.js";

/** Whether this machine can make one: it takes root, systemd and overlayfs. */
export const canMakeCleanRoot =
  process.platform === "linux" &&
  process.getuid?.() === 0 &&
  existsSync("/lib/systemd/systemd") &&
  existsSync("/sys/fs/cgroup");

/**
 * A copy of this machine's file system with a systemd of its own: what is done
 * there is not done here. It is gone with this process, however that ends.
 */
export class CleanRoot {
  private constructor(
    private readonly keeper: ChildProcessWithoutNullStreams,
    private readonly pid: number,
  ) {}

  static async boot(): Promise<CleanRoot> {
    const folder = await mkdtemp(join(tmpdir(), "jetrpc-root-"));
    const script = join(import.meta.dirname, "clean-root.sh");
    const keeper = spawn("unshare", ["--mount", script, folder], { detached: true });
    let complaint = "";
    keeper.stderr.on("data", (text) => {
      complaint += text;
    });
    const [line] = await Promise.race([
      once(keeper.stdout, "data"),
      once(keeper, "exit").then(() => {
        throw new Error(`no clean root can be made: ${complaint}`);
      }),
    ]);
    const root = new CleanRoot(keeper, Number(line));
    for (let attempt = 0; attempt < 200; attempt++) {
      const { stdout } = await root.run("systemctl", "is-system-running");
      if (/^(running|degraded)$/m.test(stdout)) {
        return root;
      }
      await delay(50);
    }
    await root.remove();
    throw new Error(`systemd does not start in a clean root: ${complaint}`);
  }

  /** Runs a command there, as root. */
  run(command: string, ...args: string[]): Promise<Finished> {
    const enter = ["--target", `${this.pid}`, "--mount", "--pid", "--uts", "--ipc", "--cgroup"];
    return run("nsenter", [
      ...enter,
      "--root",
      "env",
      "-i",
      "-C",
      "/",
      "PATH=/usr/sbin:/usr/bin",
      command,
      ...args,
    ]);
  }

  /** The paths that differ from this machine's file system, but for systemd's own. */
  async changes(): Promise<string[]> {
    const { stdout } = await this.run(
      "find",
      "/run/changes",
      ...["-path", "*/var", "-prune", "-o", "-path", "*/opt", "-prune", "-o", "-printf", "/%P\\n"],
    );
    return stdout.trim().split("\n").sort();
  }

  /** The path by which a file there can be reached from here. */
  path(path: string): string {
    return join(`/proc/${this.pid}/root`, path);
  }

  async remove(): Promise<void> {
    const exit = once(this.keeper, "exit");
    this.keeper.stdin.end();
    await exit;
  }
}
