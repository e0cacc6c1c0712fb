import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** The parent of this process; and if that is npm or npx, which outlive their own parent, that parent too. */
export function findCallers(): number[] {
  const callers: number[] = [];
  // npm has a shell between.
  const generations = process.env["npm_command"] === undefined ? 1 : 3;
  let pid = process.ppid;
  for (; callers.length < generations && pid > 1; pid = parentOf(pid)) {
    callers.push(pid);
  }
  return callers;
}

/** Parent of a process; 0 when that is not known. */
function parentOf(pid: number): number {
  try {
    if (process.platform === "linux") {
      return Number(statOf(pid)[1]);
    }
    return Number(ps(pid, "ppid="));
  } catch {
    return 0;
  }
}

/** True while a process is there. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // One of another user, as under sudo.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** True when the terminal sends its keys to this process. One in the background is stopped when it reads them. */
export function isInForeground(): boolean {
  try {
    const [own, terminals] =
      process.platform === "linux"
        ? [statOf(process.pid)[2], statOf(process.pid)[5]]
        : ps(process.pid, "pgid=,tpgid=").trim().split(/\s+/);
    return own === terminals;
  } catch {
    return false;
  }
}

/** What Linux says of a process: its state, parent, process group, session, terminal, that one's group, and more. */
export function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // Before them is the name in parentheses, which may hold anything.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function ps(pid: number, columns: string): string {
  return execFileSync("ps", ["-o", columns, "-p", `${pid}`], { encoding: "utf8" });
}
