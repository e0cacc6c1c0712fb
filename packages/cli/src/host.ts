import { AsyncLocalStorage } from "node:async_hooks";
import type { Readable, Writable } from "node:stream";
import { type Environment, readEnvironment } from "@jetrpc/runtime/node";

/** An output of a command; a terminal tells its size. */
type Output = Writable & Partial<Pick<NodeJS.WriteStream, "isTTY" | "columns" | "rows">>;

/** What a command has of its process. A test gives its own, and runs many commands in one process. */
export interface Host {
  readonly stdin: Readable & Partial<Pick<NodeJS.ReadStream, "isTTY" | "setRawMode">>;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Environment;
  /** Asks the command to end. Default: the signals of the process do. */
  readonly signal?: AbortSignal;
}

const hosts = new AsyncLocalStorage<Host>();

/** Runs a command on a host. */
export function runOn<T>(given: Host, command: () => Promise<T>): Promise<T> {
  return hosts.run(given, command);
}

/** The host of the command that asks. Default: the process. */
export function host(): Host {
  return hosts.getStore() ?? process;
}

/** True for a terminal that can move its cursor: `TERM=dumb`, as of an editor, shows what should do it. */
export function isScreen({ isTTY }: Output): boolean {
  return isTTY === true && host().env["TERM"] !== "dumb";
}

/** Has a function run on the host of the command that gives it away: a server calls it from elsewhere. */
export function onHost<A extends unknown[], R>(work: (...args: A) => R): (...args: A) => R {
  const given = hosts.getStore();
  return given ? (...args) => hosts.run(given, () => work(...args)) : work;
}

/** The variables of the host; of the process also those of `.env`, as a connection reads them. */
export async function environment(): Promise<Environment> {
  return givenEnv() ?? (await readEnvironment());
}

/** Where a connection reads its settings; undefined for the process and its `.env`. */
export function givenEnv(): Environment | undefined {
  return hosts.getStore()?.env;
}
