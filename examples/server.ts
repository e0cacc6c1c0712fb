import { startNats } from "@jetrpc/testing";

/** Starts a nats-server that ends with the example, unless NATS_URL names one. */
export async function startServer(): Promise<AsyncDisposable | undefined> {
  if (process.env["NATS_URL"]) {
    return undefined;
  }
  const server = await startNats();
  process.env["NATS_URL"] = server.url;
  return server;
}
