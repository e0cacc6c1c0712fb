/** `npm run web`: everything that the app needs, until Ctrl-C. */
import { startWeb } from "./start-web.js";

const web = await startWeb({ port: Number(process.env["PORT"] ?? 5173) });
console.log(`
nats-server   pid ${web.nats.pid}, ${web.nats.url}
workers       pid ${web.workers.map(({ pid }) => pid).join(" and ")}: kill one, and see what happens
image worker  pid ${web.imageWorker.pid}, a few seconds later
gateway       ${web.gateway.url}

Open          ${web.url}
`);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void web[Symbol.asyncDispose]().then(() => process.exit()));
}
