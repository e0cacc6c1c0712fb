/** `npm run web`: everything that the app needs, until Ctrl-C. */
import { Code, ConnectError } from "@jetrpc/runtime";
import { runDemo } from "../../pdf-demo/run-demo.js";
import { startWeb } from "./start-web.js";

await runDemo(async () => {
  const web = await startWeb({ port: readPort(process.env["PORT"] || "5173") });
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
});

function readPort(text: string): number {
  const port = Number(text);
  if (!(Number.isInteger(port) && port >= 0 && port < 65_536)) {
    throw new ConnectError(
      `PORT is "${text}": it must be a whole number from 0, which takes any free one, to 65535`,
      Code.InvalidArgument,
    );
  }
  return port;
}
