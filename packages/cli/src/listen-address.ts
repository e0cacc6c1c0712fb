import { UsageError } from "./exit-code.js";

/** Where a command listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads an address like `127.0.0.1:9464`. Throws UsageError. */
export function addressOf(text: string): Address {
  const [, host = "", port = ""] = /^(.+):(\d+)$/.exec(text) ?? [];
  if (host === "" || Number(port) > 65_535) {
    throw new UsageError(
      `--listen ${text} is no address with a port: give one like 127.0.0.1:9464`,
    );
  }
  return { host: host.replaceAll(/^\[|\]$/g, ""), port: Number(port) };
}

/** Reads the value of an option that is a port. Throws UsageError. */
export function portOf(text: string, option: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) {
    throw new UsageError(`${option} ${text} is no port: give a number up to 65535`);
  }
  return port;
}
