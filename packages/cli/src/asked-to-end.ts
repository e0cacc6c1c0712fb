import { host } from "./host.js";

/** Fires when the command is asked to end: by its host, or a signal, or the end of the terminal. */
export function askedToEnd(): AbortSignal {
  const { signal } = host();
  if (signal) {
    return signal;
  }
  const asked = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => asked.abort());
  }
  return asked.signal;
}
