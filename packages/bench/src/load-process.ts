// A client or a worker of a backlog: `load-process.js <submit|work> <URL> <subject>`.
import { backlogWays } from "./backlogs/index.js";
import type { LoadFailure } from "./load.js";

/** Asks a process `submit` to queue so many calls. */
export interface SubmitRequest {
  readonly calls: number;
  readonly payloadBytes: number;
}

/** The answer when the server has accepted all of them. */
export interface SubmitReply {
  readonly seconds: number;
}

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [role, url = "", name = ""] = process.argv.slice(2);
const way = await backlogWays.get(name)?.();
const send = (message: unknown) => process.send?.(message);
if (role === "work") {
  await way?.work(url);
} else {
  const submit = await way?.submit(url);
  process.on("message", ({ calls, payloadBytes }: SubmitRequest) => {
    const begin = performance.now();
    submit?.(calls, payloadBytes)
      .then((): SubmitReply => ({ seconds: (performance.now() - begin) / 1000 }))
      .catch((error): LoadFailure => ({ error: String(error) }))
      .then(send);
  });
}
send("");
